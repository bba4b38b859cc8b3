//! Console output on disk: two files of at most 64 KiB, of which the older one is dropped when the
//! newer one is full. So the last 64 KiB are always there, and no file is ever rewritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How much is kept for sure.
pub const KEPT: usize = 64 * 1024;

pub struct Writer {
    path: PathBuf,
    file: File,
    written: usize,
}

impl Writer {
    /// Goes on where an earlier boot left off.
    pub fn open(home: &Path) -> io::Result<Writer> {
        let path = home.join("console");
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        let written = file.metadata()?.len() as usize;
        Ok(Writer { path, file, written })
    }

    pub fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            if self.written >= KEPT {
                fs::rename(&self.path, self.path.with_extension("old"))?;
                self.file = OpenOptions::new().append(true).create(true).open(&self.path)?;
                self.written = 0;
            }
            let part = data.len().min(KEPT - self.written);
            self.file.write_all(&data[..part])?;
            self.written += part;
            data = &data[part..];
        }
        Ok(())
    }
}

/// The last 64 KiB.
pub fn read(home: &Path) -> Vec<u8> {
    let all = Follower::new(home).read();
    all[all.len().saturating_sub(KEPT)..].to_vec()
}

/// Reads on where it left off; first all that is kept.
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
}

impl Follower {
    pub fn new(home: &Path) -> Follower {
        Follower { path: home.join("console"), file: None }
    }

    /// What was written since the last time. A file that became the old one is read to its end before
    /// the new one, so nothing is missed and nothing comes twice, unless both were dropped in between.
    pub fn read(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        if self.file.is_none() {
            // Opened before the newer one: what becomes old from now on is still read as the newer.
            let old = File::open(self.path.with_extension("old"));
            let new = File::open(&self.path);
            self.file = new.ok();
            let same = |old: &File| self.file.as_ref().is_some_and(|new| is_same(old, new));
            if let Some(mut old) = old.ok().filter(|old| !same(old)) {
                let _ = old.read_to_end(&mut all);
            }
        }
        while let Some(file) = &mut self.file {
            let _ = file.read_to_end(&mut all);
            match File::open(&self.path) {
                Ok(newer) if !is_same(file, &newer) => {
                    // The last of it may have come after it was read.
                    let _ = file.read_to_end(&mut all);
                    self.file = Some(newer);
                }
                _ => break,
            }
        }
        all
    }
}

fn is_same(one: &File, other: &File) -> bool {
    let known = |file: &File| file.metadata().map(|known| (known.dev(), known.ino())).ok();
    known(one) == known(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        let home = std::env::temp_dir().join(format!("drover-console-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let mut all: Vec<u8> = Vec::new();
        let (mut follower, mut followed) = (Follower::new(&home), Vec::new());
        for n in 0..40u32 {
            let chunk = format!("{n:08}").repeat(700);
            // Opened anew each time, as by the shims of later boots.
            Writer::open(&home).unwrap().write(chunk.as_bytes()).unwrap();
            all.extend(chunk.as_bytes());
            let expected = &all[all.len().saturating_sub(KEPT)..];
            assert_eq!(read(&home), expected, "after {n}");
            followed.extend(follower.read());
            assert_eq!(followed, all, "after {n}");
        }
        let on_disk: u64 =
            fs::read_dir(&home).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(on_disk <= 2 * KEPT as u64);
        fs::remove_dir_all(&home).unwrap();
    }
}
