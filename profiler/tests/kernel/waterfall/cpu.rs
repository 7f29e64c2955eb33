//! Time on a CPU, and for want of one.

use std::fs::File;
use std::io::Read as _;

use super::{MS, process_spends, spends};
use crate::kernel::child::{clock, fork, pin};

/// Uses so much CPU time.
fn spin() {
    let until = clock(libc::CLOCK_THREAD_CPUTIME_ID) + 300 * MS;
    while clock(libc::CLOCK_THREAD_CPUTIME_ID) < until {
        (0..1_000_000).for_each(|number| {
            std::hint::black_box(number);
        });
    }
}

#[test]
fn its_own_instructions() {
    // Its birth is the kernel's work, and all is told by timer ticks, of which a second has at least a hundred.
    spends("user", || (0..4).for_each(|_| spin()));
}

#[test]
fn instructions_of_the_kernel() {
    spends("system", || {
        let (mut zeros, mut buffer) = (File::open("/dev/zero").unwrap(), vec![0; 16 << 20]);
        let until = clock(libc::CLOCK_THREAD_CPUTIME_ID) + 1_000 * MS;
        while clock(libc::CLOCK_THREAD_CPUTIME_ID) < until {
            zeros.read_exact(&mut buffer).unwrap();
        }
    });
}

#[test]
fn a_fight_for_a_cpu() {
    process_spends("runq_preempted", || {
        let mut rival = fork(|parent| {
            pin(0);
            parent.say([1]);
            loop {
                std::hint::spin_loop();
            }
        });
        rival.hear::<1>();
        let pid = fork(|_| {
            pin(0);
            spin();
        })
        .ended();
        rival.kill();
        pid
    });
}
