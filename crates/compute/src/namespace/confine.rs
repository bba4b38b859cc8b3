//! What an instance's processes may not do: capabilities that are never theirs, and system calls.
//!
//! Root inside is an unprivileged user outside, so most of what is dropped here would fail anyway.
//! This is the second wall: it keeps rarely used kernel code out of reach. `no_new_privs` is left off,
//! as sudo and other set-user-id programs are part of what a machine is.

use std::collections::BTreeMap;
use std::io;

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
        Ok(Filter(refuse_x32().into_iter().chain(program).collect()))
    }

    pub fn install(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: self.0.len() as u16,
            filter: self.0.as_ptr() as *mut libc::sock_filter,
        };
        // SAFETY: sock_fprog points at `len` instructions, laid out as the kernel's (repr(C)), that
        // outlive the call.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
