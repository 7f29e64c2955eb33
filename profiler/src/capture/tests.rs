//! The promises of the format: what is written is read, and whatever happens to the bytes, nothing false is.

use std::io::{self, Cursor, Read, Write};
use std::path::Path;

use super::sample::{self, Random};
use super::*;
use crate::batch::{Batch, TaskRow, Timestamp};
use crate::error::Error;

mod compatibility;
mod hostile;
mod size;

/// What a reader makes of some bytes.
struct Outcome {
    batches: Vec<Batch>,
    damage: Option<Damage>,
}

fn batches(seed: u64, count: usize) -> Vec<Batch> {
    let mut random = Random(seed);
    (0..count).map(|_| sample::any(&mut random)).collect()
}

/// Batches that take few bytes, for tests that try each of them.
fn small_batches() -> [Batch; 2] {
    [(1, "nginx"), (2, "postgres")].map(|(tid, comm)| Batch {
        from: Timestamp(tid.into()),
        until: Timestamp(u64::from(tid) + 1),
        tasks: vec![TaskRow { tid, comm: comm.to_owned(), ..TaskRow::default() }],
        ..Batch::default()
    })
}

fn capture(batches: &[Batch]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &sample::machine()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Outcome, Error> {
    let mut reader = Reader::new(bytes, Path::new("test.cap"))?;
    assert_eq!(*reader.machine(), sample::machine());
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        batches.push(batch);
    }
    assert_eq!(reader.next_batch()?, None, "the end is the end");
    Ok(Outcome { batches, damage: reader.damage().cloned() })
}

/// The same by random access, which has to come to the same result.
fn read_by_index(bytes: &[u8]) -> Result<Outcome, Error> {
    let mut timeline = Timeline::new(Cursor::new(bytes), Path::new("test.cap"))?;
    let mut batches = Vec::new();
    for index in 0..timeline.moments().len() {
        let batch = timeline.batch_at(index)?;
        assert!(timeline.batch_at(index)? == batch, "twice is the same");
        batches.extend(batch);
    }
    Ok(Outcome { batches, damage: timeline.damage().cloned() })
}

fn start_of_frames(batches: &[Batch]) -> Vec<usize> {
    (0..=batches.len()).map(|count| capture(&batches[..count]).len() - frame::HEAD_LEN).collect()
}

#[test]
fn what_is_written_is_read() {
    for seed in 1..200 {
        let written = batches(seed, 3);
        let outcome = read(&capture(&written)).unwrap();
        assert_eq!(outcome.batches, written, "seed {seed}");
        assert_eq!(outcome.damage, None, "seed {seed}");
    }
}

#[test]
fn nothing_is_written_and_read() {
    let outcome = read(&capture(&[])).unwrap();
    assert_eq!((outcome.batches.len(), outcome.damage), (0, None));
    assert_eq!(read(&capture(&[Batch::default()])).unwrap().batches, [Batch::default()]);
}

#[test]
fn equal_batches_are_equal_bytes() {
    assert_eq!(capture(&batches(7, 3)), capture(&batches(7, 3)));
}

#[test]
fn a_cut_anywhere_costs_the_frame_that_it_is_in() {
    let written = small_batches();
    let bytes = capture(&written);
    let starts = start_of_frames(&written);
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        if len < starts[0] {
            assert!(matches!(read(cut), Err(Error::NotACapture { .. })), "cut at {len}");
            continue;
        }
        let whole = starts.iter().filter(|start| **start <= len).count() - 1;
        for outcome in [read(cut), read_by_index(cut)] {
            let outcome = outcome.unwrap();
            assert_eq!(outcome.batches, written[..whole], "cut at {len}");
            let damage = outcome.damage.unwrap();
            assert_eq!(damage.at_offset, starts[whole] as u64, "cut at {len}: {damage}");
            assert_eq!(damage.skipped_bytes, (len - starts[whole]) as u64, "cut at {len}: {damage}");
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let written = small_batches();
    let bytes = capture(&written);
    let starts = start_of_frames(&written);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Some(hit) = starts.iter().rposition(|start| *start <= bit / 8) else {
            let error = read(&flipped).err().unwrap();
            assert!(matches!(error, Error::NotACapture { .. } | Error::NewerCapture { .. }), "bit {bit}: {error}");
            continue;
        };
        let mut expected = written.to_vec();
        if hit < expected.len() {
            expected.remove(hit);
        }
        let frame_len = starts.get(hit + 1).unwrap_or(&bytes.len()) - starts[hit];
        let outcome = read(&flipped).unwrap();
        assert_eq!(outcome.batches, expected, "bit {bit}");
        let damage = outcome.damage.unwrap();
        assert_eq!(damage.at_offset, starts[hit] as u64, "bit {bit}: {damage}");
        assert_eq!(damage.skipped_bytes, frame_len as u64, "bit {bit}: {damage}");
        let indexed = read_by_index(&flipped).unwrap();
        assert_eq!((indexed.batches, indexed.damage), (expected, Some(damage)), "bit {bit}");
    }
}

#[test]
fn a_frame_is_one_write() {
    struct Writes(Vec<usize>);
    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.push(0);
            Ok(())
        }
    }
    let written = batches(9, 2);
    let mut writer = Writer::new(Writes(Vec::new()), &sample::machine()).unwrap();
    for batch in &written {
        writer.write(batch).unwrap();
    }
    let lens = writer.finish().unwrap().0;
    assert_eq!(lens.len(), 8, "start, two batches and the end, each followed by a flush");
    assert!(lens.iter().skip(1).step_by(2).all(|len| *len == 0));
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let why = |bytes: &[u8]| match read(bytes).err().unwrap() {
        Error::NotACapture { why, .. } => why,
        error => panic!("{error}"),
    };
    assert_eq!(why(b""), "it is empty");
    assert_eq!(why(b"#!/bin/sh\necho hello\n"), "it is text");
    assert_eq!(why(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0"), "it does not begin like one");
    assert_eq!(why(&SIGNATURE[..5]), "it ends in its first bytes");
    assert_eq!(why(&SIGNATURE), "it ends in its first bytes");
    assert_eq!(why(b"\x8acap\n\x1a\n\x01\0\0\0\0"), "its signature is damaged, as by a transfer as text");
    let start = [SIGNATURE.as_slice(), &1u32.to_le_bytes()].concat();
    assert!(why(&start).starts_with("its description of the host cannot be read: "));
}

#[test]
fn what_follows_the_end_is_damage() {
    let written = batches(11, 1);
    let mut bytes = capture(&written);
    let end = bytes.len() as u64;
    bytes.extend_from_slice(b"more");
    for outcome in [read(&bytes), read_by_index(&bytes)] {
        let outcome = outcome.unwrap();
        assert_eq!(outcome.batches, written);
        let damage = outcome.damage.unwrap();
        assert_eq!((damage.at_offset, damage.skipped_bytes), (end, 4));
    }
}

#[test]
fn an_unreadable_input_is_an_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("bad sector"))
        }
    }
    let bytes = capture(&batches(13, 2));
    let input = (&bytes[..bytes.len() - 50]).chain(Broken);
    let mut reader = Reader::new(input, Path::new("test.cap")).unwrap();
    reader.next_batch().unwrap().unwrap();
    assert_eq!(reader.next_batch().err().unwrap().to_string(), "failed to read `test.cap`: bad sector");
}

#[test]
fn a_moment_finds_its_batch() {
    let at = |from, until| Batch { from: Timestamp(from), until: Timestamp(until), ..Batch::default() };
    let written = [at(100, 200), at(200, 300), at(300, 450)];
    let bytes = capture(&written);
    let mut timeline = Timeline::new(Cursor::new(bytes), Path::new("test.cap")).unwrap();
    let found: Vec<_> = [99, 100, 199, 200, 449, 9_999].map(|at| timeline.index_at(Timestamp(at))).into();
    assert_eq!(found, [None, Some(0), Some(0), Some(1), Some(2), Some(2)]);
    assert_eq!(timeline.batch_at(1).unwrap().as_ref(), Some(&written[1]));
    assert_eq!(timeline.batch_at(3).unwrap(), None);
    assert_eq!(timeline.damage(), None);
}
