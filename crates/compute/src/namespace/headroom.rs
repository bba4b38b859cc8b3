//! Keeps a disk that grows from taking what others need: the pool promises more than it has.
//!
//! While the pool is scarce, a file system on one of its disks may grow by half of what the pool has left
//! beyond a reserve, as is looked at a few times a second. ext4 holds back the rest of what it was promised
//! (`reserved_clusters`), so that its user is told that *this* disk is full before the pool is; what is
//! reserved goes to journals and to disks that are small yet. Other file systems on volumes, and what writes
//! to devices without one, are not held back.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use super::block::Space;
use super::driver::Inner;
use super::pool;

const LOOK: Duration = Duration::from_millis(250);
const SOON: u64 = 16 << 30;
/// A disk that has taken less may take a little more in any case.
const SMALL: u64 = 64 << 20;
const LITTLE: u64 = 16 << 20;

/// Whether new disks are of any use.
pub fn is_enough(space: Space) -> bool {
    space.available > reserve(space.total) + SMALL
}

/// What disks may not take of a pool.
fn reserve(total: u64) -> u64 {
    (total / 20).clamp(2 * SMALL, 1 << 30)
}

const LOG_CLUSTER_KIB: u64 = 0x1c;
const OVERHEAD_CLUSTERS: u64 = 0x248;

/// Whether a fast writer could get to the reserve before anybody looks a few times.
fn is_scarce(space: Space) -> bool {
    space.available < (space.total / 4).max(SOON)
}

/// Looks after the pool of a driver as long as that lives.
pub fn watch(state_dir: &Path, driver: Weak<Inner>) -> io::Result<()> {
    // Devices tell of their files by their true paths.
    let directory = pool::mount_point(&state_dir.canonicalize()?);
    let look = move || {
        let (mut scarce, mut available) = (false, 0);
        while driver.strong_count() > 0 {
            std::thread::sleep(LOOK);
            if !pool::is_mount_point(&directory).unwrap_or(false) {
                continue;
            }
            let Ok(space) = Space::of(&directory) else { continue };
            let before = std::mem::replace(&mut scarce, is_scarce(space));
            let changed = space.available != std::mem::replace(&mut available, space.available);
            if changed && (scarce || before) {
                // What is let go of meanwhile needs nothing.
                let _ = hold_back(&directory, scarce.then_some(space));
            }
        }
    };
    std::thread::Builder::new().name("headroom".into()).spawn(look).map(drop)
}

/// Of every disk in the pool that is a device. No space: as ext4 has it by itself.
fn hold_back(directory: &Path, space: Option<Space>) -> io::Result<()> {
    // Those of encrypted disks are as large, and take as much.
    let views = directory.parent().map(|state| state.join("views"));
    let views = views.as_deref();
    for entry in fs::read_dir("/sys/fs/ext4")? {
        let name = entry?.file_name();
        let backing = Path::new("/sys/block").join(&name).join("loop/backing_file");
        let Ok(backing) = fs::read_to_string(backing) else { continue };
        let backing = PathBuf::from(backing.trim_end());
        if !backing.starts_with(directory) && !views.is_some_and(|views| backing.starts_with(views))
        {
            continue;
        }
        let control = Path::new("/sys/fs/ext4").join(&name).join("reserved_clusters");
        if let Ok(clusters) = reserved(&backing, space) {
            let _ = fs::write(control, clusters.to_string());
        }
    }
    Ok(())
}

/// How many clusters the file system on a disk shall hold back.
fn reserved(disk: &Path, space: Option<Space>) -> io::Result<u64> {
    let file = File::open(disk)?;
    let data = file.metadata()?;
    let (size, taken) = (data.len(), data.blocks() * 512);
    // Of its superblock at 1024.
    let field = |offset| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 1024 + offset).map(|()| u32::from_le_bytes(bytes))
    };
    let cluster = 1024_u64 << field(LOG_CLUSTER_KIB)?.min(16);
    let overhead = u64::from(field(OVERHEAD_CLUSTERS)?) * cluster;
    Ok(match space {
        None => (size / cluster / 50).min(4096),
        // A little less than it could still take: some of the overhead is taken already.
        Some(space) => size.saturating_sub(overhead + taken + share(space, taken)) / cluster,
    })
}

/// By how many bytes a disk may grow that has taken so many.
fn share(space: Space, taken: u64) -> u64 {
    let half = space.available.saturating_sub(reserve(space.total)) / 2;
    if taken < SMALL { half.max(LITTLE) } else { half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_grows_by_half_of_what_is_left_beyond_the_reserve() {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        for (available, total, taken, expected) in [
            (2 * GIB, 10 * GIB, GIB, 768 * MIB),
            (512 * MIB, 10 * GIB, GIB, 0),
            (0, 10 * GIB, GIB, 0),
            (0, 10 * GIB, MIB, 16 * MIB),
            (3 * GIB, 100 * GIB, GIB, GIB),
        ] {
            assert_eq!(share(Space { available, total }, taken), expected, "{available} {total}");
        }
    }
}
