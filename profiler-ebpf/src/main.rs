//! The kernel programs: small, bounded, one file per row of the grid. They aggregate where the event happens; iterators
//! export the aggregates once per tick, and a ring carries only what ends between two ticks.
//!
//! Every hook exists twice, as `tp_btf` (typed pointers, direct loads) and as `raw_tp` (loads by helper, name with
//! `_raw`), from one body. User space chooses per hook at load time.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "the BPF target has no other way to add atomically")]
#![expect(clippy::cast_possible_truncation, reason = "kernel words are cut to the field's width on purpose")]

mod disk;
mod drop;
mod emit;
mod file;
mod floor;
mod kernel;
mod maps;
mod syscall;
mod task;
mod tcp;

/// Iterators and several helpers are only for programs whose license is compatible with the GPL.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
