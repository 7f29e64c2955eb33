//! Waits for the network.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::{late, process_spends, spends};
use crate::kernel::child::{Child, fork};
use crate::kernel::network::{Cable, SERVER};
use crate::kernel::observe::until;

const PORT: u16 = 7005;
/// More than both buffers of a connection hold.
const BYTES: usize = 32 << 20;

#[test]
fn connections_to_accept() {
    spends("accept", || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        late(move || drop(TcpStream::connect(address).unwrap()));
        drop(listener.accept().unwrap());
    });
}

#[test]
fn data_of_a_slow_server() {
    spends("receive", || {
        let (mut one, mut other) = connected();
        late(move || other.write_all(&[1]).unwrap());
        one.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn a_receiver_that_does_not_read() {
    spends("send", || {
        let (mut one, mut other) = connected();
        late(move || other.read_exact(&mut vec![0; BYTES]).unwrap());
        one.write_all(&vec![0; BYTES]).unwrap();
    });
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn a_handshake_that_is_lost() {
    let cable = Cable::new();
    process_spends("connect", || {
        let _server: Child = crate::kernel::tcp::listen(&cable.server, PORT, 5);
        Cable::cut(&cable.client);
        let mut client = fork(|parent| {
            cable.client.enter();
            parent.say([1]);
            drop(TcpStream::connect((SERVER, PORT)).unwrap());
        });
        client.hear::<1>();
        until("it has tried", || match cable.client.run(&["ss", "-tnHo", "state", "syn-sent"]) {
            told if told.contains("timer:(on") => Ok(()),
            told => Err(told),
        });
        cable.mend();
        client.ended()
    });
}
