//! A network device whose packets a program reads and writes.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
};

use rustix::{
    fs::OFlags,
    ioctl::{Opcode, Setter, ioctl, opcode},
};

const DEVICE: &str = "/dev/net/tun";
/// `TUNSETIFF` of `linux/if_tun.h`.
const SET_INTERFACE: Opcode = opcode::write::<i32>(b'T', 202);
/// Whole Ethernet frames, and nothing before them: `IFF_TAP` and `IFF_NO_PI`.
const FRAMES_ONLY: u16 = 0x0002 | 0x1000;
/// `struct ifreq` of `linux/if.h` on 64-bit machines: the name, then a union of which the flags are taken.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// The device; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Tap(File);

impl Tap {
    /// Makes one in the namespace of this thread, under a name of at most 15 bytes.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).write(true).custom_flags(flags).open(DEVICE)?;
        let mut request = InterfaceRequest { name: [0; 16], flags: FRAMES_ONLY, rest: [0; 22] };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: this request reads one `struct ifreq`, whose layout and size `InterfaceRequest` has, and keeps no pointer.
        unsafe { ioctl(&file, Setter::<SET_INTERFACE, InterfaceRequest>::new(request)) }?;
        Ok(Self(file))
    }

    /// The next frame, if one is there.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a mut [u8]>> {
        match (&self.0).read(buffer) {
            Ok(count) => Ok(Some(&mut buffer[..count])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write_all(frame)
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }
}
