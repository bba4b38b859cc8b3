//! Console output on disk: two files of at most 64 KiB, of which the older one is dropped when the
//! newer one is full. So the last 64 KiB are always there, and no file is ever rewritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
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
    let path = home.join("console");
    let mut all = fs::read(path.with_extension("old")).unwrap_or_default();
    all.extend(fs::read(path).unwrap_or_default());
    all.split_off(all.len().saturating_sub(KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        let home = std::env::temp_dir().join(format!("drover-console-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let mut all: Vec<u8> = Vec::new();
        for n in 0..40u32 {
            let chunk = format!("{n:08}").repeat(700);
            // Opened anew each time, as by the shims of later boots.
            Writer::open(&home).unwrap().write(chunk.as_bytes()).unwrap();
            all.extend(chunk.as_bytes());
            let expected = &all[all.len().saturating_sub(KEPT)..];
            assert_eq!(read(&home), expected, "after {n}");
        }
        let on_disk: u64 =
            fs::read_dir(&home).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(on_disk <= 2 * KEPT as u64);
        fs::remove_dir_all(&home).unwrap();
    }
}
