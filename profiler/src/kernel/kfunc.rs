//! Puts calls of kernel functions into an object, which aya cannot.

use profiler_common::kfunc::KFUNCS;

use crate::kernel::btf::Btf;

/// `BPF_JMP | BPF_CALL`, no registers, no offset: a call of the helper whose number follows.
const CALL: [u8; 4] = [0x85, 0, 0, 0];
/// The same with `BPF_PSEUDO_KFUNC_CALL` as its source register: of the function whose id follows.
const CALL_KERNEL: [u8; 4] = [0x85, 0x20, 0, 0];

/// The object with its calls in place; `None` if the running kernel, whose types these are, lacks one of the functions.
pub fn link(object: &[u8], running: &Btf) -> Option<Vec<u8>> {
    let ids = KFUNCS.map(|(name, number)| running.function(name).map(|id| (number.to_le_bytes(), id.to_le_bytes())));
    let mut object = object.to_vec();
    for id in ids {
        let (number, id) = id?;
        // Instructions are aligned in the file.
        for instruction in object.chunks_exact_mut(8).filter(|chunk| chunk[..4] == CALL && chunk[4..] == number) {
            instruction[..4].copy_from_slice(&CALL_KERNEL);
            instruction[4..].copy_from_slice(&id);
        }
    }
    Some(object)
}
