//! What an instance's processes may not do: capabilities that are never theirs, and system calls.
//!
//! Root inside is an unprivileged user outside, so most of what is dropped here would fail anyway.
//! This is the second wall: it keeps rarely used kernel code out of reach. `no_new_privs` is left off,
//! as sudo and other set-user-id programs are part of what a machine is.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::sys::check;

/// Capabilities dropped from the bounding set, by number (capability.h).
const DROPPED: [u32; 16] = [
    9,  // linux_immutable: an undeletable file would outlive the instance
    16, // sys_module
    17, // sys_rawio
    20, // sys_pacct
    25, // sys_time
    28, // lease
    30, // audit_control
    32, // mac_override
    33, // mac_admin
    34, // syslog
    35, // wake_alarm
    36, // block_suspend
    37, // audit_read
    38, // perfmon
    39, // bpf
    40, // checkpoint_restore
];

/// Refused with EPERM: what acts on the whole host, or is a common way into its kernel.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_quotactl,
    libc::SYS_request_key,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

/// The filter as a program for the kernel. Built once, in the launcher.
pub struct Filter(BpfProgram);

impl Filter {
    pub fn build() -> io::Result<Filter> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            REFUSED.iter().map(|&call| (call, Vec::new())).collect();
        // Typing into another's terminal.
        let typing =
            SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::TIOCSTI)
                .and_then(|condition| SeccompRule::new(vec![condition]))
                .map_err(io::Error::other)?;
        rules.insert(libc::SYS_ioctl, vec![typing]);
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM as u32),
            arch,
        )
        .map_err(io::Error::other)?;
        let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
        Ok(Filter(refuse_x32().into_iter().chain(hand_over()).chain(program).collect()))
    }

    /// For this process and all that come from it. What comes out of the result are the calls that
    /// somebody outside has to answer.
    pub fn install(&self) -> io::Result<OwnedFd> {
        const NEW_LISTENER: libc::c_uint = 1 << 3;
        /// A call that was taken up is not interrupted, but by death.
        const WAIT_KILLABLE_RECV: libc::c_uint = 1 << 5;

        let program = libc::sock_fprog {
            len: self.0.len() as u16,
            filter: self.0.as_ptr() as *mut libc::sock_filter,
        };
        // SAFETY: sock_fprog points at `len` instructions, laid out as the kernel's (repr(C)), that
        // outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                NEW_LISTENER | WAIT_KILLABLE_RECV,
                &raw const program,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor, which nothing else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
    }
}

/// The x32 calls have numbers of their own under the same architecture and would pass a list of
/// refused numbers. No distribution uses them.
fn refuse_x32() -> Vec<sock_filter> {
    if cfg!(not(target_arch = "x86_64")) {
        return Vec::new();
    }
    const X32_BIT: u32 = 0x4000_0000;
    let instruction =
        |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32_BIT),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        ),
    ]
}

pub const EXT4_IOC_RESIZE_FS: libc::Ioctl = 0x4008_6610;
pub const XFS_IOC_FSGROWFSDATA: libc::Ioctl = 0x4010_586E;
pub const BLKBSZSET: libc::Ioctl = 0x4008_1271;
pub const BLKFLSBUF: libc::Ioctl = 0x1261;

/// Mounts of file systems, growing them, and what making them takes, go to the shim
/// (`guest_mount.rs`). The newer way to
/// mount, by descriptors, is not there: programs fall back to the older one then. What makes a loop
/// device another one is refused, as disks are such devices.
fn hand_over() -> Vec<sock_filter> {
    const ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") { 0xC000_00B7 } else { 0xC000_003E };
    // Mounts that take no file system: the kernel knows best.
    const NO_FILE_SYSTEM: u32 = (libc::MS_BIND
        | libc::MS_MOVE
        | libc::MS_SHARED
        | libc::MS_PRIVATE
        | libc::MS_SLAVE
        | libc::MS_UNBINDABLE) as u32;
    const MAGIC: u32 = 0xC0ED_0000;
    // In struct seccomp_data; arguments by their lower half.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    const fn argument(n: u32) -> u32 {
        16 + 8 * n
    }
    let load = |at| (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let equal = |value, yes, no| (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    let jump = |by| (libc::BPF_JMP | libc::BPF_JA, 0, 0, by);
    let any = |bits, yes, no| (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, yes, no, bits);
    let and = |bits| (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, bits);
    let answer = |what| (libc::BPF_RET | libc::BPF_K, 0, 0, what);
    let refuse = |error: i32| answer(libc::SECCOMP_RET_ERRNO | error as u32);
    let number = |call: libc::c_long| call as u32;
    [
        load(ARCH),
        // Others are dealt with behind all of this.
        equal(ARCHITECTURE, 0, 28),
        load(NUMBER),
        equal(number(libc::SYS_fsopen), 4, 0),
        equal(number(libc::SYS_fsconfig), 3, 0),
        equal(number(libc::SYS_fsmount), 2, 0),
        equal(number(libc::SYS_fspick), 1, 0),
        jump(1),
        refuse(libc::ENOSYS),
        equal(number(libc::SYS_mount), 0, 10),
        // mount: which flags, without the magic number that some have in their upper half?
        load(argument(3)),
        and(0xffff_0000),
        equal(MAGIC, 0, 3),
        load(argument(3)),
        and(0xffff),
        jump(1),
        load(argument(3)),
        any(NO_FILE_SYSTEM, 0, 1),
        jump(11),
        answer(libc::SECCOMP_RET_USER_NOTIF),
        equal(number(libc::SYS_ioctl), 0, 9),
        load(argument(1)),
        equal(EXT4_IOC_RESIZE_FS as u32, 6, 0),
        equal(XFS_IOC_FSGROWFSDATA as u32, 5, 0),
        equal(BLKBSZSET as u32, 4, 0),
        equal(BLKFLSBUF as u32, 3, 0),
        and(0xffff_ff00),
        equal(0x4C00, 0, 2),
        refuse(libc::EPERM),
        answer(libc::SECCOMP_RET_USER_NOTIF),
    ]
    .map(|(code, jt, jf, k)| sock_filter { code: code as u16, jt, jf, k })
    .into()
}

/// Drops the capabilities for good, for this process and all that come from it.
pub fn drop_capabilities() -> io::Result<()> {
    for capability in DROPPED {
        // SAFETY: plain integers.
        let result = check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) });
        // An older kernel does not know the newest ones.
        match result {
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error),
            _ => {}
        }
    }
    let dropped = DROPPED.iter().fold(0u64, |set, capability| set | 1 << capability);
    let mut header = [0x2008_0522u32, 0]; // _LINUX_CAPABILITY_VERSION_3, this process
    let mut sets = [[0u32; 3]; 2]; // effective, permitted, inheritable; low and high half
    // SAFETY: header and sets are laid out as __user_cap_header_struct and two
    // __user_cap_data_struct, see capget(2).
    unsafe {
        let failed = |result: libc::c_long| result < 0;
        if failed(libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr())) {
            return Err(io::Error::last_os_error());
        }
        for (half, shift) in [(0, 0), (1, 32)] {
            for set in &mut sets[half][..2] {
                *set &= !((dropped >> shift) as u32);
            }
            sets[half][2] = 0;
        }
        if failed(libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr())) {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
