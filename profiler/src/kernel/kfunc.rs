//! Puts calls of kernel functions into an object, which aya cannot.

pub use profiler_common::kfunc::{CAST, Function, PREEMPTION};

use crate::kernel::btf::Btf;

/// `BPF_JMP | BPF_CALL`, no registers, no offset: a call of the helper whose number follows.
const CALL: [u8; 4] = [0x85, 0, 0, 0];
/// The same with `BPF_PSEUDO_KFUNC_CALL` as its source register: of the function whose id follows.
const CALL_KERNEL: [u8; 4] = [0x85, 0x20, 0, 0];

/// Puts calls of these functions in their places; whether the running kernel, whose types these are, has all of them.
pub fn link(object: &mut [u8], running: &Btf, functions: &[Function]) -> bool {
    let ids: Option<Vec<_>> = functions.iter().map(|(name, number)| Some((number, running.function(name)?))).collect();
    for (number, id) in ids.iter().flatten() {
        // Instructions are aligned in the file.
        let calls = object.chunks_exact_mut(8).filter(|chunk| chunk[..4] == CALL && chunk[4..] == number.to_le_bytes());
        for instruction in calls {
            instruction[..4].copy_from_slice(&CALL_KERNEL);
            instruction[4..].copy_from_slice(&id.to_le_bytes());
        }
    }
    ids.is_some()
}
