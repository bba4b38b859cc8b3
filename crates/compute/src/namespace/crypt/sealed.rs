//! Files of the pool that may be encrypted: their keys, and reading, writing and copying them in plain
//! words. Who copies a file by its extents copies its key with it (`inherit`).

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sectors::{SECTOR, Sectors, is_zero};

use crate::namespace::{block, sys, volumes};
use crate::storage::{DataKey, Keys};

/// Where a file's key is, sealed. Only root can see it.
const KEY: &CStr = c"trusted.drover.key";

/// Longer, no sealed key is.
const MOST: usize = 1024;

/// Encrypted files have multiples of so many bytes.
pub const UNIT: u64 = SECTOR as u64;

/// At a time, when a file is encrypted.
const CHUNK: usize = 256 << 10;

fn sealed_key(file: &File) -> io::Result<Option<Vec<u8>>> {
    let mut sealed = vec![0; MOST];
    let length = sys::get_xattr(file, KEY, &mut sealed)?;
    Ok(length.map(|length| sealed[..length].to_vec()))
}

pub fn is_encrypted(file: &File) -> io::Result<bool> {
    Ok(sealed_key(file)?.is_some())
}

/// Of an encrypted file.
pub fn key(file: &File, keys: Option<&dyn Keys>) -> io::Result<Option<DataKey>> {
    let Some(sealed) = sealed_key(file)? else { return Ok(None) };
    let opened = keys.and_then(|keys| keys.open(&sealed));
    let opened = opened.ok_or_else(|| {
        io::Error::other("its key cannot be opened: it was sealed by another installation")
    });
    opened.map(Some)
}

/// A new file is to hold ciphertext, from now on.
pub fn encrypt(file: &File, keys: &dyn Keys) -> io::Result<DataKey> {
    let (key, sealed) = keys.generate();
    sys::set_xattr_of(file, KEY, &sealed)?;
    Ok(key)
}

/// `to` has all bytes of `from`: if they are ciphertext, it opens with the same key.
pub fn inherit(from: &File, to: &File) -> io::Result<()> {
    sealed_key(from)?.map_or(Ok(()), |sealed| sys::set_xattr_of(to, KEY, &sealed))
}

/// A file as its user sees it.
pub struct Plain {
    file: File,
    sectors: Option<Sectors>,
}

impl Plain {
    pub fn new(file: File, keys: Option<&dyn Keys>) -> io::Result<Plain> {
        let sectors = key(&file, keys)?.map(|key| Sectors::new(&key));
        Ok(Plain { file, sectors })
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub fn extents(&self) -> io::Result<Vec<(u64, u64)>> {
        block::extents(&self.file)
    }

    /// All of it is there.
    pub fn read_at(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let Some(sectors) = &self.sectors else { return self.file.read_exact_at(data, offset) };
        let (first, whole) = self.whole(sectors, offset, data.len())?;
        data.copy_from_slice(&whole[(offset - first) as usize..][..data.len()]);
        Ok(())
    }

    /// Within the file. Nobody else may write to the same sectors meanwhile.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let Some(sectors) = &self.sectors else { return self.file.write_all_at(data, offset) };
        let (first, mut whole) = self.whole(sectors, offset, data.len())?;
        whole[(offset - first) as usize..][..data.len()].copy_from_slice(data);
        sectors.encrypt_sparsely(first / SECTOR as u64, &mut whole);
        self.file.write_all_at(&whole, first)
    }

    /// The sectors that these bytes are in, and where they begin.
    fn whole(&self, sectors: &Sectors, offset: u64, bytes: usize) -> io::Result<(u64, Vec<u8>)> {
        let size = SECTOR as u64;
        let (first, end) = (offset / size * size, (offset + bytes as u64).next_multiple_of(size));
        let mut whole = vec![0; (end - first) as usize];
        self.file.read_exact_at(&mut whole, first)?;
        sectors.decrypt(first / size, &mut whole);
        Ok((first, whole))
    }
}

/// A new encrypted file with what a plain one holds. `cancelled` ends it with `Interrupted`.
pub fn encrypted_copy(
    from: &File,
    to: &Path,
    keys: &dyn Keys,
    cancelled: &AtomicBool,
) -> io::Result<File> {
    let file = volumes::new_file(to)?;
    let sectors = Sectors::new(&encrypt(&file, keys)?);
    let length = from.metadata()?.len();
    file.set_len(length)?;
    let mut chunk = vec![0; CHUNK];
    for (begin, end) in block::extents(from)? {
        let mut offset = begin / SECTOR as u64 * SECTOR as u64;
        while offset < end {
            if cancelled.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let data = &mut chunk[..(end - offset).min(CHUNK as u64) as usize];
            from.read_exact_at(data, offset)?;
            if !is_zero(data) {
                sectors.encrypt_sparsely(offset / SECTOR as u64, data);
                file.write_all_at(data, offset)?;
            }
            offset += data.len() as u64;
        }
    }
    Ok(file)
}
