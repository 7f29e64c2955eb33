//! Devices, those whom they work for, partitions, and journals.

use std::collections::BTreeSet;

use profiler_common::disk::{DiskKey, DiskRecord, OwnerKey, OwnerRecord, PartitionRecord};
use profiler_common::journal::JournalRecord;

use super::Kernel;
use crate::batch::HostRow;
use crate::error::Error;
use crate::kernel::iterate;
use crate::kernel::support;

impl Kernel {
    pub(super) fn read_disks(&mut self, host: &HostRow) -> Result<(), Error> {
        let (mut keys, mut records) = (Vec::<DiskKey>::new(), Vec::<DiskRecord>::new());
        iterate::map(&self.maps.disks, "disks", &mut keys, &mut records)?;
        // Stacked devices are known to `/proc/diskstats` alone.
        let devices: BTreeSet<_> = keys.iter().map(|key| key.device).chain(host.disks.keys().copied()).collect();
        self.pending.facts.extend(devices.into_iter().filter_map(|device| self.names.disk(device)));
        let (known, pending) = (&mut self.disks, &mut self.pending);
        known.witness(host);
        for (key, record) in keys.iter().zip(&records) {
            pending.disks.push(known.observe(*key, record, &mut pending.disk_sizes));
        }
        let (mut keys, mut records) = (Vec::<OwnerKey>::new(), Vec::<OwnerRecord>::new());
        iterate::map(&self.maps.disk_owners, "disk_owners", &mut keys, &mut records)?;
        let pairs = keys.iter().zip(&records);
        pending.disk_owners.extend(pairs.filter_map(|(key, record)| known.observe_owner(*key, record)));
        let (mut keys, mut records) = (Vec::<DiskKey>::new(), Vec::<PartitionRecord>::new());
        iterate::map(&self.maps.partitions, "partitions", &mut keys, &mut records)?;
        pending.facts.extend(keys.iter().filter_map(|key| self.names.disk(key.device)));
        let pairs = keys.iter().zip(&records);
        pending.partitions.extend(pairs.filter_map(|(key, record)| known.observe_partition(*key, record)));
        pending.partitions.sort_by_key(|row| row.key);
        pending.disks.sort_by_key(|row| row.key);
        pending.disk_sizes.sort_by_key(|row| (row.key, row.size));
        pending.disk_owners.sort_by_key(|row| (row.key, row.process));
        Ok(())
    }

    pub(super) fn read_journals(&mut self) -> Result<(), Error> {
        let (mut devices, mut records) = (Vec::<u32>::new(), Vec::<JournalRecord>::new());
        iterate::map(&self.maps.journals, "journals", &mut devices, &mut records)?;
        let now = support::monotonic();
        for (device, record) in devices.iter().zip(&records) {
            self.pending.facts.extend(self.names.disk(*device));
            self.pending.journals.push(self.journals.observe(*device, record, now, self.tick_ns));
        }
        self.pending.journals.sort_by_key(|row| row.device);
        Ok(())
    }
}
