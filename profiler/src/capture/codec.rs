//! How the values of a field become the integers of its columns.

use std::collections::BTreeMap;

use profiler_common::exchange::spent;
use profiler_common::hist::{LINEAR8_SLOTS, LINEAR32_SLOTS, LOG2_SLOTS};

use super::column::{Decoder, Encoder, Encoding, Malformed};
use crate::batch::hist::Scale;
use crate::batch::{DiskError, Endpoint, Hist, ProcessKey, Slowest, Spent, SpentParts, TcpMemory, Timestamp};

/// Writes a `T`, or a part of it, as integers and reads it back.
pub(super) trait Codec<T> {
    /// The encoding that is written. A reader goes by the one that the file names.
    const ENCODING: Encoding;

    /// Appends.
    fn put(value: &T, to: &mut Encoder<'_>);

    /// Reads into a value that is default but for the parts that earlier columns filled in.
    fn get(value: &mut T, from: &mut Decoder<'_, '_>) -> Result<(), Malformed>;
}

/// All of a value in one column.
pub(super) struct Whole<const SORTED: bool>;
/// For what is random or mostly zero.
pub(super) type Plain = Whole<false>;
/// For what is sorted or nearly so.
pub(super) type Delta = Whole<true>;

impl<T: Value, const SORTED: bool> Codec<T> for Whole<SORTED> {
    const ENCODING: Encoding = if SORTED { Encoding::Delta } else { Encoding::Varint };

    fn put(value: &T, to: &mut Encoder<'_>) {
        value.put(to);
    }

    fn get(value: &mut T, from: &mut Decoder<'_, '_>) -> Result<(), Malformed> {
        *value = T::get(from)?;
        Ok(())
    }
}

/// A [`Hist`]'s scale: 0 is eight steps per power of two, 1 is powers of two.
pub(super) struct HistScale;
/// How many slots a [`Hist`] has. This column comes before the next two.
pub(super) struct HistLength;
/// The slots of a [`Hist`], ascending.
pub(super) struct HistSlots;
/// The counts of these slots.
pub(super) struct HistCounts;

impl Codec<Hist> for HistScale {
    const ENCODING: Encoding = Encoding::Varint;

    fn put(value: &Hist, to: &mut Encoder<'_>) {
        to.int(match value.scale {
            Scale::Linear8 => 0,
            Scale::Log2 => 1,
            Scale::Linear32 => 2,
        });
    }

    fn get(value: &mut Hist, from: &mut Decoder<'_, '_>) -> Result<(), Malformed> {
        value.scale = match from.int()? {
            0 => Scale::Linear8,
            1 => Scale::Log2,
            2 => Scale::Linear32,
            _ => return Err("a histogram has an unknown scale"),
        };
        Ok(())
    }
}

impl Codec<Hist> for HistLength {
    const ENCODING: Encoding = Encoding::Varint;

    fn put(value: &Hist, to: &mut Encoder<'_>) {
        to.int(value.slots.len() as u64);
    }

    fn get(value: &mut Hist, from: &mut Decoder<'_, '_>) -> Result<(), Malformed> {
        let len = from.int()?;
        let len = usize::try_from(len).ok().filter(|len| *len <= slots_max(value.scale));
        let len = len.ok_or("a histogram has more slots than its scale")?;
        from.spend::<(u16, u64)>(len)?;
        value.slots = vec![(0, 0); len];
        Ok(())
    }
}

impl Codec<Hist> for HistSlots {
    const ENCODING: Encoding = Encoding::Delta;

    fn put(value: &Hist, to: &mut Encoder<'_>) {
        value.slots.iter().for_each(|(slot, _)| to.int(u64::from(*slot)));
    }

    /// Checks what users of a histogram rely on: slots of the scale, in order.
    fn get(value: &mut Hist, from: &mut Decoder<'_, '_>) -> Result<(), Malformed> {
        let mut least = 0;
        for entry in &mut value.slots {
            let slot = u16::get(from)?;
            if slot < least || usize::from(slot) >= slots_max(value.scale) {
                return Err("the slots of a histogram are not those of its scale in order");
            }
            least = slot + 1;
            entry.0 = slot;
        }
        Ok(())
    }
}

impl Codec<Hist> for HistCounts {
    const ENCODING: Encoding = Encoding::Varint;

    fn put(value: &Hist, to: &mut Encoder<'_>) {
        value.slots.iter().for_each(|(_, count)| to.int(*count));
    }

    fn get(value: &mut Hist, from: &mut Decoder<'_, '_>) -> Result<(), Malformed> {
        value.slots.iter_mut().try_for_each(|entry| {
            entry.1 = from.int()?;
            Ok(())
        })
    }
}

const fn slots_max(scale: Scale) -> usize {
    match scale {
        Scale::Linear8 => LINEAR8_SLOTS,
        Scale::Linear32 => LINEAR32_SLOTS,
        Scale::Log2 => LOG2_SLOTS,
    }
}

/// A value that is one or more integers in one column.
pub(super) trait Value: Sized {
    /// Appends.
    fn put(&self, to: &mut Encoder<'_>);

    /// Reads.
    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed>;
}

impl Value for u64 {
    fn put(&self, to: &mut Encoder<'_>) {
        to.int(*self);
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        from.int()
    }
}

impl Value for u32 {
    fn put(&self, to: &mut Encoder<'_>) {
        to.int((*self).into());
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        from.int()?.try_into().map_err(|_| "a value does not fit into 32 bits")
    }
}

impl Value for u16 {
    fn put(&self, to: &mut Encoder<'_>) {
        to.int((*self).into());
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        from.int()?.try_into().map_err(|_| "a value does not fit into 16 bits")
    }
}

impl Value for bool {
    fn put(&self, to: &mut Encoder<'_>) {
        to.int((*self).into());
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        match from.int()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a value is neither yes nor no"),
        }
    }
}

impl Value for String {
    fn put(&self, to: &mut Encoder<'_>) {
        to.text(self);
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        from.text()
    }
}

impl Value for Endpoint {
    fn put(&self, to: &mut Encoder<'_>) {
        to.text(&self.to_string());
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        match from.text()?.as_str() {
            // Early captures had this where there was none.
            "" => Ok(Self::ANY),
            text => text.parse().map_err(|_| "an end of a connection is no address and port"),
        }
    }
}

impl Value for Timestamp {
    fn put(&self, to: &mut Encoder<'_>) {
        to.int(self.0);
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        from.int().map(Self)
    }
}

impl Value for ProcessKey {
    fn put(&self, to: &mut Encoder<'_>) {
        self.pid.put(to);
        self.start_ns.put(to);
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        Ok(Self { pid: Value::get(from)?, start_ns: Value::get(from)? })
    }
}

impl Value for DiskError {
    fn put(&self, to: &mut Encoder<'_>) {
        self.at.put(to);
        self.sector.put(to);
        self.errno.put(to);
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        Ok(Self { at: Value::get(from)?, sector: Value::get(from)?, errno: Value::get(from)? })
    }
}

impl Value for Slowest {
    fn put(&self, to: &mut Encoder<'_>) {
        self.time_ns.put(to);
        self.at.put(to);
        self.socket.put(to);
        self.tid.put(to);
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        Ok(Self {
            time_ns: Value::get(from)?,
            at: Value::get(from)?,
            socket: Value::get(from)?,
            tid: Value::get(from)?,
            spent: Spent::default(),
        })
    }
}

impl Value for TcpMemory {
    fn put(&self, to: &mut Encoder<'_>) {
        self.used_bytes.put(to);
        self.pressure_bytes.put(to);
        self.most_bytes.put(to);
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        Ok(Self { used_bytes: Value::get(from)?, pressure_bytes: Value::get(from)?, most_bytes: Value::get(from)? })
    }
}

/// Where the thread of a [`Slowest`] was, if there is one; this column comes after it.
pub(super) struct SlowestSpent;

impl Codec<Option<Slowest>> for SlowestSpent {
    const ENCODING: Encoding = Encoding::Varint;

    fn put(value: &Option<Slowest>, to: &mut Encoder<'_>) {
        match value.map(|slowest| slowest.spent) {
            None => {}
            Some(Spent::Unknown(why)) => to.int(why.into()),
            Some(Spent::Told(parts)) => {
                let SpentParts { cpu_ns, runq_wakeup_ns, runq_preempted_ns, throttled_ns, waits } = parts;
                to.int(spent::TOLD.into());
                [cpu_ns, runq_wakeup_ns, runq_preempted_ns, throttled_ns].put(to);
                waits.put(to);
            }
        }
    }

    fn get(value: &mut Option<Slowest>, from: &mut Decoder<'_, '_>) -> Result<(), Malformed> {
        let Some(slowest) = value else { return Ok(()) };
        slowest.spent = match u32::get(from)? {
            spent::TOLD => {
                let [cpu_ns, runq_wakeup_ns, runq_preempted_ns, throttled_ns] = Value::get(from)?;
                let waits = Value::get(from)?;
                Spent::Told(SpentParts { cpu_ns, runq_wakeup_ns, runq_preempted_ns, throttled_ns, waits })
            }
            why => Spent::Unknown(why),
        };
        Ok(())
    }
}

/// 0, or 1 and the value. Sharing one integer would need a value that no counter can have.
impl<T: Value> Value for Option<T> {
    fn put(&self, to: &mut Encoder<'_>) {
        self.is_some().put(to);
        if let Some(value) = self {
            value.put(to);
        }
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        bool::get(from)?.then(|| T::get(from)).transpose()
    }
}

/// The length without the zeros at the end, then the rest. So an array may grow, and readers ignore what they do not know.
impl<const N: usize> Value for [u64; N] {
    fn put(&self, to: &mut Encoder<'_>) {
        let len = N - self.iter().rev().take_while(|value| **value == 0).count();
        to.int(len as u64);
        self[..len].iter().for_each(|value| to.int(*value));
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        let mut values = [0; N];
        for at in 0..from.count::<u64>()? {
            let value = from.int()?;
            if let Some(known) = values.get_mut(at) {
                *known = value;
            }
        }
        Ok(values)
    }
}

/// The length, then the items.
impl<T: Value> Value for Vec<T> {
    fn put(&self, to: &mut Encoder<'_>) {
        to.int(self.len() as u64);
        for item in self {
            item.put(to);
        }
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        let len = from.count::<T>()?;
        (0..len).map(|_| T::get(from)).collect()
    }
}

/// The length, then key and value of each entry.
impl<V: Value> Value for BTreeMap<String, V> {
    fn put(&self, to: &mut Encoder<'_>) {
        to.int(self.len() as u64);
        for (key, value) in self {
            key.put(to);
            value.put(to);
        }
    }

    fn get(from: &mut Decoder<'_, '_>) -> Result<Self, Malformed> {
        let len = from.count::<(String, V)>()?;
        (0..len).map(|_| Ok((String::get(from)?, V::get(from)?))).collect()
    }
}
