//! `cargo xtask setup`: how can this machine build the kernel programs?
//!
//! The kernel's target ships without a standard library, so `core` has to be built from source by a compiler that has
//! that source beside it, and linked by bpf-linker, whose LLVM must not be older than the compiler's. What is complete
//! already is preferred over what could be installed. Nothing is ever asked; the answer is kept below `target`.

mod compiler;
mod debian;
mod decision;
mod linker;
pub mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::compiler::Compiler;
pub use self::debian::is_root;
pub use self::decision::Decision;
use crate::layout::Layout;

#[derive(clap::Args)]
pub struct Args {
    /// Also install the programs that the tests and benchmarks call
    #[arg(long)]
    tests: bool,
}

pub fn main(layout: &Layout, args: &Args) -> Result<ExitCode> {
    let decision = ensure(layout)?;
    eprintln!("setup: ready: {}", decision.summary);
    if args.tests {
        require_for_tests(&decision)?;
        eprintln!("setup: ready: {}", tools::summary());
    }
    Ok(ExitCode::SUCCESS)
}

/// The way to build the kernel programs on this machine; free of cost once it is known.
pub fn ensure(layout: &Layout) -> Result<Decision> {
    if let Some(decision) = Decision::load(&layout.decision()) {
        return Ok(decision);
    }
    let decision = decide(layout)?;
    decision.store(&layout.decision())?;
    Ok(decision)
}

/// What the tests and lints call, with Debian's compiler its clippy. What a toolchain of rustup has beside it is its owner's choice.
pub fn require_for_tests(decision: &Decision) -> Result<()> {
    tools::require()?;
    if compiler::is_packaged(&decision.rustc) { debian::install(&[compiler::DEBIAN_CLIPPY]) } else { Ok(()) }
}

fn decide(layout: &Layout) -> Result<Decision> {
    let mut tried = Vec::new();
    eprintln!("setup: looking for a compiler that has the source of `core`");
    let compilers = compiler::installed();
    for compiler in &compilers {
        eprintln!("setup: found {compiler}");
    }
    if compilers.is_empty() {
        tried.push("no installed compiler of 1.95 or later has the source of `core` (component rust-src)".to_owned());
    }
    let ready = compilers.iter().find_map(|compiler| Some((compiler, linker::found(layout, compiler)?)));
    if let Some((compiler, linker)) = ready {
        return Decision::new(compiler, &linker);
    }
    for compiler in &compilers {
        if let Some(decision) = with_linker(layout, compiler, &mut tried) {
            return decision;
        }
    }
    // A compiler that was there and found no linker will not find one when it is installed again.
    if compilers.is_empty() {
        // Debian's compiler first: the LLVM that its linker needs comes from the same place. A nightly is often ahead of
        // every packaged LLVM. Without the rights to install packages this step only leaves a line.
        for install in [compiler::install_debian, compiler::install_nightly] {
            let compiler = note(install(), &mut tried);
            if let Some(decision) = compiler.and_then(|compiler| with_linker(layout, &compiler, &mut tried)) {
                return decision;
            }
        }
    }
    bail!(give_up(&tried));
}

fn with_linker(layout: &Layout, compiler: &Compiler, tried: &mut Vec<String>) -> Option<Result<Decision>> {
    let linker = linker::found(layout, compiler).or_else(|| linker::install(layout, compiler, tried))?;
    Some(Decision::new(compiler, &linker))
}

/// Keeps the reason of a failure for the message at the end.
fn note<T>(result: Result<T>, tried: &mut Vec<String>) -> Option<T> {
    result.map_err(|error| tried.push(format!("{error:#}"))).ok()
}

fn give_up(tried: &[String]) -> String {
    format!(
        "found no way to build the kernel programs. Tried:\n  - {}\n\
         hint: any one of these is enough, then run the command again:\n  \
         - with rustup: rustup toolchain install nightly --profile minimal --component rust-src\n  \
         - on Debian 12: sudo apt-get install {}\n\
         and, for bpf-linker {}, if it was the linker that failed:\n  \
         - cargo binstall bpf-linker --version {}\n  \
         - on Debian: sudo apt-get install {}",
        tried.join("\n  - "),
        compiler::DEBIAN_PACKAGES.join(" "),
        linker::VERSION,
        linker::VERSION,
        linker::DEBIAN_PACKAGES.join(" "),
    )
}
