//! BTF out of a bootable image: the image holds a compressed kernel, and that is an ELF file with a section for BTF.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

/// What the compressed kernel starts with, and the program that unpacks it.
const PACKERS: [([u8; 4], &str); 2] = [([0x02, 0x21, 0x4c, 0x18], "lz4"), ([0x28, 0xb5, 0x2f, 0xfd], "zstd")];

/// The BTF of an x86 kernel image.
pub fn cut(image: &[u8]) -> Result<Vec<u8>> {
    let kernel = unpacked(payload(image)?)?;
    section(&kernel, b".BTF").map(<[u8]>::to_vec)
}

/// The compressed kernel, as the boot protocol's header describes it.
fn payload(image: &[u8]) -> Result<&[u8]> {
    ensure!(bytes(image, 0x202, 4)? == b"HdrS", "this is no x86 kernel");
    let sectors = match number::<1>(image, 0x1f1)? {
        // What no sectors stand for, for old loaders.
        0 => 4,
        sectors => sectors,
    };
    let [offset, length] = [number::<4>(image, 0x248)?, number::<4>(image, 0x24c)?];
    bytes(image, (sectors + 1) * 512 + offset, length)
}

/// The kernel's build appends the unpacked size.
fn unpacked(payload: &[u8]) -> Result<Vec<u8>> {
    let (kernel, size) = payload.split_last_chunk::<4>().context("the kernel is empty")?;
    let packer = PACKERS.iter().find(|(magic, _)| kernel.starts_with(magic));
    let Some((_, program)) = packer else { bail!("the kernel is packed in an unknown way") };
    let kernel = piped(Command::new(program).args(["-d", "-c"]), kernel)?;
    ensure!(kernel.len() == u32::from_le_bytes(*size) as usize, "`{program}` unpacked only a part");
    Ok(kernel)
}

fn piped(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("failed to start `{program}`"))?;
    let stdin = child.stdin.take();
    // Both pipes at once: each is shorter than what goes through it.
    let output = thread::scope(|scope| {
        scope.spawn(|| stdin.map(|mut pipe| pipe.write_all(input)));
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("failed to read from `{program}`"))?;
    ensure!(output.status.success(), "`{program}` failed: {}", output.status);
    Ok(output.stdout)
}

/// A section of an ELF file for 64 bits.
fn section<'a>(elf: &'a [u8], name: &[u8]) -> Result<&'a [u8]> {
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "the kernel is no ELF file");
    let table = number::<8>(elf, 0x28)?;
    let [size, count, names] = [number::<2>(elf, 0x3a)?, number::<2>(elf, 0x3c)?, number::<2>(elf, 0x3e)?];
    let header = |index: u64| bytes(elf, table.saturating_add(index * size), 64);
    let content = |header: &[u8]| bytes(elf, number::<8>(header, 24)?, number::<8>(header, 32)?);
    let names = content(header(names)?)?;
    for index in 0..count {
        let header = header(index)?;
        let rest = names.get(usize::try_from(number::<4>(header, 0)?)?..).unwrap_or_default();
        if rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(&[0])) {
            return content(header);
        }
    }
    bail!("the kernel was built without BTF")
}

/// A little-endian number of `N` bytes.
fn number<const N: usize>(data: &[u8], at: u64) -> Result<u64> {
    let mut value = [0; 8];
    value[..N].copy_from_slice(bytes(data, at, N as u64)?);
    Ok(u64::from_le_bytes(value))
}

fn bytes(data: &[u8], at: u64, length: u64) -> Result<&[u8]> {
    let range = usize::try_from(at)?..usize::try_from(at.saturating_add(length))?;
    data.get(range).with_context(|| format!("it ends before byte {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image of two sectors before the kernel, and the kernel eight bytes into it.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * 512 + 8];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248] = 8;
        image[0x24c] = u8::try_from(payload.len()).unwrap();
        [&image, payload, b"rest"].concat()
    }

    /// An ELF file: names at 64, contents at 80, table at 96.
    fn elf() -> Vec<u8> {
        let header = |name: u8, offset: u8, size: u8| {
            let mut header = [0; 64];
            (header[0], header[24], header[32]) = (name, offset, size);
            header
        };
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64, 0);
        (elf[0x28], elf[0x3a], elf[0x3c], elf[0x3e]) = (96, 64, 3, 2);
        elf.extend(b"\0.BTF_ids\0.BTF\0\0");
        elf.extend(b"ids and types...");
        elf.extend([header(1, 80, 3), header(10, 88, 5), header(0, 64, 16)].concat());
        elf
    }

    #[test]
    fn the_payload_lies_where_the_boot_header_says() {
        assert_eq!(payload(&image(b"kernel")).unwrap(), b"kernel");
        assert!(payload(&image(b"kernel")[..1030]).is_err());
        assert!(payload(&[0; 2048]).is_err());
    }

    #[test]
    fn an_unknown_packer_is_refused() {
        assert_eq!(cut(&image(b"kernel")).unwrap_err().to_string(), "the kernel is packed in an unknown way");
    }

    #[test]
    fn a_section_is_found_by_its_whole_name() {
        assert_eq!(section(&elf(), b".BTF").unwrap(), b"types");
        assert!(section(&elf(), b".BT").is_err());
        for length in 0..elf().len() - 64 {
            assert!(section(&elf()[..length], b".BTF").is_err(), "{length} bytes");
        }
    }
}
