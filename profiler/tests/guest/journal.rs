//! A journal on a slow disk.

use crate::guest::disk::Delayed;
use crate::kernel::device::{FileSystem, LoopDevice};
use crate::kernel::journal::{Change, Place, is_untold, one_waits_for_its_commits, several_wait};

/// A file system each of whose requests takes 5 ms longer.
fn with_a_slow_journal(test: impl FnOnce(Place<'_>)) {
    if is_untold() {
        return;
    }
    let below = LoopDevice::new(64);
    let slow = Delayed::over(below.name(), 5);
    let files = FileSystem::ext4(&slow.path(), c"");
    test(Place { disk: slow.kernel_name(), files: &files });
}

#[test]
fn phases_of_slow_commits_are_what_one_who_syncs_metadata_waits() {
    with_a_slow_journal(|place| one_waits_for_its_commits(place, Change::Mode));
}

#[test]
fn phases_of_slow_commits_are_what_one_who_syncs_data_waits() {
    with_a_slow_journal(|place| one_waits_for_its_commits(place, Change::Data));
}

#[test]
fn a_slow_commit_is_under_way_while_any_of_several_waits() {
    with_a_slow_journal(|place| assert!(several_wait(place), "who waits together is told by when it ends"));
}
