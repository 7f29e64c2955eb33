//! Inputs that nobody honest wrote.

use bytes::BufMut;

use super::*;
use crate::capture::frame::{Frame, kind};

/// Id, encoding, data.
type RawColumn<'a> = (u16, u8, &'a [u8]);

/// A payload of one table.
fn table(id: u16, rows: u32, columns: &[RawColumn<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, encoding, data) in columns {
        body.put_u16_le(*id);
        body.put_u8(*encoding);
        body.put_u32_le(u32::try_from(data.len()).unwrap());
        body.put_slice(data);
    }
    let mut out = Vec::new();
    out.put_u16_le(id);
    out.put_u32_le(rows);
    out.put_u32_le(u32::try_from(body.len()).unwrap());
    out.put_slice(&body);
    out
}

fn refusal(payload: &[u8]) -> String {
    payload::decode(0, 0, payload).unwrap_err()
}

#[test]
fn noise_is_no_panic() {
    let mut random = Random(23);
    let start = capture(&[]);
    let start = &start[..start.len() - frame::HEAD_LEN];
    for _ in 0..2_000 {
        let len = random.below(300);
        let noise: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
        assert!(read(&noise).is_err());
        let outcome = read(&[start, &noise].concat()).unwrap();
        assert_eq!(outcome.batches, []);
        assert_eq!(outcome.damage.unwrap().skipped_bytes, len);
        let _ = payload::decode(0, 0, &noise);
    }
}

/// With checksums that match, only the bounds of the reader are left.
#[test]
fn changed_payloads_are_no_panic() {
    let mut random = Random(29);
    for batch in batches(31, 20) {
        let payload = payload::encode(&batch);
        for _ in 0..300 {
            let mut changed = payload.clone();
            for _ in 0..=random.below(3) {
                let at = usize::try_from(random.below(changed.len() as u64)).unwrap();
                changed[at] = random.next().to_le_bytes()[0];
            }
            let _ = payload::decode(0, 0, &changed);
            let _ = payload::decode(0, 0, &changed[..changed.len() / 2]);
        }
    }
}

/// Each place that looks like a frame is looked at once.
#[test]
fn a_file_full_of_magic_is_searched_in_one_pass() {
    let start = capture(&[]);
    let start = &start[..start.len() - frame::HEAD_LEN];
    let magic = frame::MAGIC.repeat(100_000);
    let written = small_batches();
    let frames = &capture(&written)[start.len()..];
    let outcome = read(&[start, &magic, frames].concat()).unwrap();
    assert_eq!(outcome.batches, written);
    assert_eq!(outcome.damage.unwrap().skipped_bytes, magic.len() as u64);
}

#[test]
fn a_sound_frame_of_nonsense_is_skipped() {
    let written = batches(37, 2);
    let bytes = capture(&written);
    let second = start_of_frames(&written)[1];
    let mut forged = bytes[..second].to_vec();
    Frame::packed(kind::BATCH, (0, 0), b"nonsense").unwrap().put(&mut forged);
    let skipped = (forged.len() - second) as u64;
    forged.extend_from_slice(&bytes[second..]);
    for outcome in [read(&forged), read_by_index(&forged)] {
        let outcome = outcome.unwrap();
        assert_eq!(outcome.batches, written);
        let damage = outcome.damage.unwrap();
        assert_eq!((damage.at_offset, damage.skipped_bytes), (second as u64, skipped));
    }
}

#[test]
fn counts_are_checked_before_memory_is_asked_for() {
    assert_eq!(refusal(&table(2, u32::MAX, &[])), "table `TaskRow`: it has more rows than bytes");
    let long = vec![0; 30 << 20];
    assert_eq!(refusal(&table(2, 30 << 20, &[(3, 1, &long)])), "table `TaskRow`: a frame unpacks to more than 1 GiB");
    let list = [0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(
        refusal(&table(1, 1, &[(15, 1, &list)])),
        "column `quality.notes` of table `Batch`: it ends inside a list"
    );
    assert_eq!(refusal(&table(1, 1, &[(1, 1, &list)])), "column `tcp_events` of table `Batch`: it ends inside a list");
    assert_eq!(
        refusal(&table(3, 1, &[(9, 1, &list)])),
        "column `blocked` of table `CallRow`: a histogram has more slots than its scale"
    );
}

/// Rows may share a string, but each has its own copy in memory.
#[test]
fn a_string_is_paid_for_by_each_row_that_has_it() {
    let text = vec![b'x'; 1 << 20];
    let mut payload = table(0, 1, &[(1, 1, &[0x80, 0x80, 0x40]), (2, 3, &text)]);
    payload.extend(table(2, 2_000, &[(19, 1, &[0; 2_000])]));
    assert_eq!(refusal(&payload), "column `comm` of table `TaskRow`: a frame unpacks to more than 1 GiB");
}

#[test]
fn values_that_no_writer_writes_are_refused() {
    let cases: [(u16, &[RawColumn<'_>], &str); 8] = [
        (2, &[(3, 1, &[0xff, 0xff, 0xff, 0xff, 0x7f])], "a value does not fit into 32 bits"),
        (2, &[(3, 3, &[1])], "its encoding is unknown"),
        (2, &[(3, 1, &[1, 1])], "it has more values than rows"),
        (2, &[(3, 1, &[0x80])], "it ends inside a value"),
        (2, &[(19, 1, &[0])], "it names a string that does not exist"),
        (5, &[(6, 1, &[2])], "a value is neither yes nor no"),
        (3, &[(8, 1, &[3])], "a histogram has an unknown scale"),
        (3, &[(9, 1, &[2]), (10, 1, &[5, 5])], "the slots of a histogram are not those of its scale in order"),
    ];
    for (id, columns, why) in cases {
        let refusal = refusal(&table(id, 1, columns));
        assert!(refusal.ends_with(why), "{refusal}, not {why}");
    }
    assert_eq!(refusal(&table(8, 1, &[(1, 1, &[1])])), "a fact is missing");
    assert_eq!(refusal(&table(0, 1, &[(1, 1, &[1]), (2, 3, &[0xff])])), "a string is no UTF-8");
    assert_eq!(refusal(&table(0, 1, &[(1, 1, &[9]), (2, 3, b"short")])), "a string is cut");
    assert_eq!(refusal(&[1, 0, 1]), "a table is cut");
}
