//! Root file systems from archives: unpacked into a new directory, all of it or nothing.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;
use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType};

use crate::namespace::within;
use crate::{Layer, oci};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive names a place outside of the root file system. Nothing of it is kept.
    #[error("{path}: leads out of the image")]
    Escape { path: String },
    #[error("not a root file system: {0}")]
    NotARoot(String),
    #[error("{0} exists already")]
    Exists(PathBuf),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub files: u64,
    pub bytes: u64,
    /// Device nodes, which an instance gets from its host instead.
    pub devices_left_out: u64,
}

/// What an image says it is, as os-release(5) has it. Empty: it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    pub id: String,
    pub version_id: String,
    pub codename: String,
    pub pretty_name: String,
}

/// The os-release of the topmost layer that has one. Blocking.
pub fn os_of(layers: &[Layer]) -> Os {
    let read = |layer: &Layer| {
        let Layer::Dir(root) = layer else { return None };
        let directory = File::open(root).ok()?;
        let found = ["etc/os-release", "usr/lib/os-release"]
            .into_iter()
            .find_map(|path| within::resolve_within(directory.as_fd(), path))?;
        fs::read_to_string(root.join(found.strip_prefix("/").ok()?)).ok()
    };
    layers.iter().rev().find_map(read).map(|text| parse_os_release(&text)).unwrap_or_default()
}

fn parse_os_release(text: &str) -> Os {
    let value = |name: &str| {
        let assigned = |line: &str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        let value = text.lines().rev().find_map(assigned).unwrap_or_default();
        value.trim().trim_matches(['"', '\'']).to_owned()
    };
    Os {
        id: value("ID"),
        version_id: value("VERSION_ID"),
        codename: value("VERSION_CODENAME"),
        pretty_name: value("PRETTY_NAME"),
    }
}

/// Brings in whatever `source` is, with its layers, lowest first: a root file system as the new directory
/// `destination`, or a container image (`oci`), whose layers go beside that by their digests. Blocking.
pub fn import_any(source: &Path, destination: &Path) -> Result<(Vec<PathBuf>, Imported)> {
    let place = destination.parent().unwrap_or(Path::new("."));
    let of_image = |layout: &Path| {
        let unpacked = oci::unpack(layout, place)?;
        check_layers(&unpacked.layers)?;
        Ok((unpacked.layers, unpacked.imported))
    };
    if source.is_dir() {
        if oci::is_image(source) {
            return of_image(source);
        }
        let why = "a directory must be an OCI image layout; make a tar of a root file system";
        return Err(Error::NotARoot(why.into()));
    }
    let mut image = false;
    let imported = import_checked(source, destination, |root| {
        image = oci::is_image(root);
        if image { Ok(()) } else { check_root(root) }
    })?;
    if !image {
        return Ok((vec![destination.to_owned()], imported));
    }
    let result = of_image(destination);
    fs::remove_dir_all(destination).map_err(io_error(destination))?;
    result
}

/// Together they must be a root file system.
fn check_layers(layers: &[PathBuf]) -> Result<()> {
    match layers.iter().any(|layer| check_root(layer).is_ok()) {
        true => Ok(()),
        false => Err(Error::NotARoot("there is neither /usr nor /bin in it".into())),
    }
}

/// A layer from a blob that may be compressed; `check` gets its directory and the digest of its archive.
pub fn import_blob(
    blob: &Path,
    destination: &Path,
    check: impl FnOnce(&Path, &str) -> Result<()>,
) -> Result<Imported> {
    let fresh = beside(destination);
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(io_error(&fresh))?;
    let unpacked = || {
        let mut reader =
            Hashing { inner: open(blob).map_err(io_error(blob))?, hasher: Sha256::new() };
        let imported = unpack_from(&mut reader, blob, &fresh)?;
        // What comes after the archive's end is part of the digest.
        io::copy(&mut reader, &mut io::sink()).map_err(io_error(blob))?;
        check(&fresh, &oci::hex(&reader.hasher.finalize()))?;
        fs::rename(&fresh, destination).map_err(io_error(destination))?;
        Ok(imported)
    };
    let result = unpacked();
    if result.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    result
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// Unpacks a tar archive, plain or compressed by gzip, xz or zstd (told by its first bytes), as the new
/// directory `destination`. Owners, modes and extended attributes are kept when root does it. Blocking.
pub fn import(archive: &Path, destination: &Path) -> Result<Imported> {
    import_checked(archive, destination, check_root)
}

/// The same with files that go on top of another image, and need not be a root file system.
pub fn import_layer(archive: &Path, destination: &Path) -> Result<Imported> {
    import_checked(archive, destination, |_| Ok(()))
}

fn import_checked(
    archive: &Path,
    destination: &Path,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<Imported> {
    if destination.symlink_metadata().is_ok() {
        return Err(Error::Exists(destination.to_owned()));
    }
    let fresh = beside(destination);
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(io_error(&fresh))?;
    let result = unpack(archive, &fresh).and_then(|imported| {
        check(&fresh)?;
        fs::rename(&fresh, destination).map_err(io_error(destination))?;
        Ok(imported)
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    result
}

fn beside(destination: &Path) -> PathBuf {
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    destination.with_file_name(format!(".{name}.importing"))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let what = path.display().to_string();
    move |source| Error::Io { what, source }
}

fn unpack(archive: &Path, root: &Path) -> Result<Imported> {
    unpack_from(open(archive).map_err(io_error(archive))?, archive, root)
}

fn unpack_from(reader: impl Read, archive: &Path, root: &Path) -> Result<Imported> {
    let mut tar = Archive::new(reader);
    // SAFETY: no arguments.
    let privileged = unsafe { libc::geteuid() } == 0;
    tar.set_preserve_permissions(true);
    tar.set_preserve_ownerships(privileged);
    tar.set_unpack_xattrs(privileged);
    let mut imported = Imported::default();
    for entry in tar.entries().map_err(io_error(archive))? {
        unpack_entry(entry.map_err(io_error(archive))?, root, &mut imported)?;
    }
    Ok(imported)
}

/// A reader of the plain archive.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    Ok(match file.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(XzReader::new(file, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(StreamingDecoder::new(file).map_err(io::Error::other)?)
        }
        _ => Box::new(file),
    })
}

fn unpack_entry<R: Read>(
    mut entry: Entry<'_, R>,
    root: &Path,
    imported: &mut Imported,
) -> Result<()> {
    let path = entry.path().map_err(io_error(root))?.into_owned();
    let escape = || Error::Escape { path: path.display().to_string() };
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(escape());
    }
    match entry.header().entry_type() {
        EntryType::Char | EntryType::Block => {
            imported.devices_left_out += 1;
            return Ok(());
        }
        EntryType::Link => {
            let target = entry.link_name().map_err(io_error(&path))?.ok_or_else(escape)?;
            if target.components().any(|part| part == Component::ParentDir) {
                return Err(escape());
            }
            // The link itself is made by name: no part of the name may lead elsewhere.
            if leads_elsewhere(root, &target).map_err(io_error(&path))? {
                return Err(escape());
            }
        }
        _ => {}
    }
    if let Some(parent) = path.parent()
        && leads_elsewhere(root, parent).map_err(io_error(&path))?
    {
        return Err(escape());
    }
    let size = entry.size();
    match entry.unpack_in(root) {
        Ok(true) => {}
        // The root itself ("./"), whose directory is there already, or a name with nothing in it.
        Ok(false) => return Ok(()),
        Err(source) => return Err(Error::Io { what: path.display().to_string(), source }),
    }
    imported.files += 1;
    imported.bytes += size;
    Ok(())
}

/// Whether `path` below `root` goes through symbolic links to a place outside.
fn leads_elsewhere(root: &Path, path: &Path) -> io::Result<bool> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let mut place = root.to_owned();
    for part in relative.components() {
        place.push(part);
        match place.canonicalize() {
            Ok(real) if !real.starts_with(root.canonicalize()?) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A dangling link may be an absolute one, right inside the image and nowhere here.
                return Ok(place.is_symlink());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn check_root(root: &Path) -> Result<()> {
    let has = |name: &str| root.join(name).symlink_metadata().is_ok();
    if !has("usr") && !has("bin") {
        return Err(Error::NotARoot("there is neither /usr nor /bin in it".into()));
    }
    Ok(())
}
