//! Tables of sockets and their peers.

use super::*;

#[test]
fn dropped_packets_have_a_reason_and_those_of_a_socket_an_owner_or_nobody_knows() {
    let sheet = sheet(&model(Window::Whole, &[busy()]), Table::Drops, &Scope::default());
    let row =
        |row| ["drop.reason", "drop.socket", "drop.owner", "drop.count"].map(|id| cell(&sheet, row, id).to_string());
    assert_eq!(
        [0, 1, 2].map(row),
        [
            ["NO_SOCKET", "–", "–", "40"],
            ["SOCKET_RCVBUFF", "udp 0.0.0.0:8125", "?", "30"],
            ["SOCKET_RCVBUFF", "udp 0.0.0.0:8125", "db", "20"],
        ]
    );
}

#[test]
fn what_a_peer_thinks_is_the_wait_without_the_way() {
    let told = |model: &Model| sheet(model, Table::Exchanges, &Scope::default());
    let sheet = told(&model(Window::Recent, &[busy()]));
    let of = |id: &str| [0, 1].map(|row| cell(&sheet, row, id).to_string());
    assert_eq!(of("exchange.role"), ["client", "server"], "the most time first");
    assert_eq!(of("exchange.endpoint"), ["10.0.0.9:5432", "10.0.0.1:80"]);
    assert_eq!(of("exchange.count_s"), ["100", "10"]);
    assert_eq!(of("exchange.think_mean_ns"), ["4.5 ms", "–"]);
    assert_eq!(of("exchange.slowest_connection"), ["10.0.0.9:5432", "10.0.0.9:5432"]);
    // Answers that are there before the call that sent returns leave nothing to say of the peer.
    let quick = |stalls, asked| {
        let row = ExchangeRow { stalls, asked, ..requests_to(process(7), "::1:53", 10, MS, 2 * MS) };
        let sheet = told(&model(Window::Recent, &[Batch { exchanges: vec![row], ..batch(0) }]));
        ["exchange.think_mean_ns", "exchange.nagle_stalls", "exchange.unanswered"]
            .map(|id| cell(&sheet, 0, id).to_string())
    };
    assert_eq!(quick(None, None), ["?", "?", "?"], "nor was the rest recorded");
    assert_eq!(quick(Some(3), Some(5)), ["?", "3", "5"]);
    assert_eq!(quick(Some(0), Some(0)), ["?", "0", "–"], "it was asked over TCP");
    assert_eq!(told(&without("sock_send_length")).incomplete, Some("the probe sock_send_length is missing"));
}

#[test]
fn a_connection_within_this_host_is_told_once_and_both_ends_are_named() {
    let asks = connection(1, process(7), 1_000, 0);
    let answers = SocketRow {
        netns: 2,
        local: asks.peer,
        peer: asks.local,
        limits: Some(limits(&[(limit::RECEIVE_WINDOW, 900), (limit::APPLICATION, 100)])),
        ..connection(2, process(8), 500, 0)
    };
    let facts = vec![
        named(process(7), "web"),
        named(process(8), "db"),
        Fact::NetNamespace { netns: 2, name: "container".into() },
    ];
    let sockets = vec![asks, answers, connection(3, process(7), 10, 0)];
    let model = model(Window::Recent, &[Batch { sockets, facts, ..batch(0) }]);
    let each = sheet(&model, Table::Connections, &Scope::default());
    let peers: Vec<_> = (0..3).map(|row| cell(&each, row, "net.peer_owner").to_string()).collect();
    assert_eq!(peers, ["db in container", "web in 1", "–"]);
    let once = sheet(&model, Table::Connections, &Scope::once());
    let owners: Vec<_> = (0..once.rows.len()).map(|row| cell(&once, row, "net.owner").to_string()).collect();
    assert_eq!(owners, ["db", "web"], "the end that is held back");
}

#[test]
fn a_listener_tells_how_long_connections_wait_for_it() {
    let accepted = |cookie, opened, accept_ms: u64| SocketRow {
        local: "10.0.0.1:80".parse().unwrap(),
        opened: Some(Timestamp(opened)),
        accept_ns: Some(accept_ms * MS),
        ..connection(cookie, process(7), 1, 0)
    };
    let [begin, later] = [batch(0), batch(1)];
    let first = vec![
        listener(1, process(7), 0, 5, 0),
        accepted(2, begin.from.0 + MS, 1),
        accepted(3, begin.from.0 - 9 * MS, 2),
    ];
    let second = vec![accepted(2, begin.from.0 + MS, 1), accepted(4, later.from.0 + MS, 40)];
    let batches = [Batch { sockets: first, ..begin }, Batch { sockets: second, ..later }];
    let model = model(Window::Recent, &batches);
    let sheet = sheet(&model, Table::Listeners, &Scope::default());
    assert_eq!(cell(&sheet, 0, "net.accepts_s"), &Value::PerSecond(1.0));
    let Value::Nanos(p99) = cell(&sheet, 0, "net.accept_p99_ns") else { panic!("{sheet:?}") };
    assert!(p99.abs_diff(40 * MS) < MS, "{p99}");
    let peers = super::sheet(&model, Table::Peers, &Scope::default());
    assert_eq!(cell(&peers, 0, "net.opened_s"), &Value::PerSecond(1.0));
}

#[test]
fn what_limits_connections_is_told_of_each_and_by_peer() {
    let held = SocketRow {
        limits: Some(limits(&[(limit::RECEIVE_WINDOW, 900), (limit::APPLICATION, 100)])),
        ..connection(1, process(7), 1_000, 0)
    };
    let untold = SocketRow { limits: None, peer: "10.0.0.8:80".parse().unwrap(), ..connection(3, process(7), 10, 0) };
    let told = Batch { sockets: vec![held, connection(2, process(8), 500, 0), untold], ..batch(0) };
    let model = model(Window::Recent, &[told]);
    let each = sheet(&model, Table::Connections, &Scope::default());
    assert_eq!(cell(&each, 0, "net.limit"), &Value::Text("rwnd 90 %".into()));
    assert_eq!(cell(&each, 0, "net.limit_app_ratio"), &Value::Ratio(0.1));
    let peers = sheet(&model, Table::Peers, &Scope::default());
    let hosts: Vec<_> = peers.rows.iter().map(|row| row.subject.clone()).collect();
    assert_eq!(hosts, ["10.0.0.9", "10.0.0.8"].map(|host| Subject::Peer(1, Address::At(host.parse().unwrap()))));
    assert_eq!(cell(&peers, 0, "net.connections"), &Value::Count(2));
    assert_eq!(cell(&peers, 0, "net.limit"), &Value::Text("rwnd 45 %".into()));
    let shares =
        peers.columns.iter().zip(&peers.rows[0].cells).filter(|(column, _)| column.id.starts_with("net.limit_"));
    let sum: f64 = shares.filter_map(|(_, cell)| cell.number()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    assert!(matches!(cell(&peers, 1, "net.limit"), Value::Unknown(_)));
    let mine = sheet(&model, Table::Peers, &Scope { process: Some(process(8)), ..Scope::default() });
    assert_eq!((mine.rows.len(), cell(&mine, 0, "net.connections")), (1, &Value::Count(1)));
}
