//! OCI images: an image layout (a directory or a tar of one) or what `docker save` writes, unpacked layer
//! by layer into directories named by digest, so that images share what they have in common.
//!
//! ```text
//!  index.json ─► manifest ─► config (architecture)          OCI image layout 1.0
//!                        └─► layers, lowest first           blobs/sha256/HEX
//!  manifest.json ─► Config, Layers                          docker save
//!
//!  PLACE/sha256-HEX/     a layer, named by the digest of its uncompressed archive
//! ```
//!
//! Of an image's configuration only its architecture matters: an instance boots an init and runs user
//! data, so that entrypoint, command, user and environment are not used.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::image::{self, Error, Imported, Result};

/// What was made of an image.
#[derive(Debug)]
pub struct Unpacked {
    /// Lowest first.
    pub layers: Vec<PathBuf>,
    pub imported: Imported,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// An entry of docker's manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    architecture: String,
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// The processor of this host, as OCI names it.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Whether an archive or a directory is an image of containers, and no root file system.
pub fn is_image(directory: &Path) -> bool {
    let root = ["usr", "bin", "etc"].iter().any(|name| directory.join(name).exists());
    let image = ["index.json", "manifest.json"].iter().any(|name| directory.join(name).is_file());
    image && !root
}

fn refuse(why: impl Into<String>) -> Error {
    Error::NotARoot(why.into())
}

/// Unpacks the image in this layout into `place`. Layers that are there already are left. Blocking.
pub fn unpack(layout: &Path, place: &Path) -> Result<Unpacked> {
    let (config, blobs) = if layout.join("index.json").is_file() {
        let index: Index = read(&layout.join("index.json"))?;
        let manifest = choose(layout, &index, 0)?;
        let layers = manifest.layers.iter().map(|layer| blob(layout, &layer.digest));
        (blob(layout, &manifest.config.digest)?, layers.collect::<Result<Vec<_>>>()?)
    } else {
        let saved: Vec<Saved> = read(&layout.join("manifest.json"))?;
        let [saved] = saved.as_slice() else {
            return Err(refuse(format!(
                "the archive holds {} images; save one alone",
                saved.len()
            )));
        };
        let layers = saved.layers.iter().map(|name| within(layout, name));
        (within(layout, &saved.config)?, layers.collect::<Result<Vec<_>>>()?)
    };
    let config: Config = read(&config)?;
    if config.architecture != host_architecture() {
        let (its, host) = (&config.architecture, host_architecture());
        return Err(refuse(format!("the image is for {its}, this host is {host}")));
    }
    let names = config.rootfs.map(|rootfs| rootfs.diff_ids).unwrap_or_default();
    if names.len() != blobs.len() || blobs.is_empty() {
        return Err(refuse("its configuration does not name its layers"));
    }
    let mut unpacked = Unpacked { layers: Vec::new(), imported: Imported::default() };
    for (blob, name) in blobs.iter().zip(&names) {
        let hex = hex_of(name)?;
        let directory = place.join(format!("sha256-{hex}"));
        if !directory.is_dir() {
            let layer = image::import_blob(blob, &directory, |fresh, digest| {
                if digest != hex {
                    return Err(refuse(format!("a layer is {digest}, and not {hex} as promised")));
                }
                whiteouts(fresh).map_err(|source| io_error(fresh, source))
            })?;
            unpacked.imported.files += layer.files;
            unpacked.imported.bytes += layer.bytes;
            unpacked.imported.devices_left_out += layer.devices_left_out;
        }
        unpacked.layers.push(directory);
    }
    Ok(unpacked)
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { what: path.display().to_string(), source }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).map_err(|source| io_error(path, source))?;
    serde_json::from_slice(&text).map_err(|error| io_error(path, error.into()))
}

/// The manifest for this host, through indexes of indexes.
fn choose(layout: &Path, index: &Index, depth: usize) -> Result<Manifest> {
    let fits = |platform: &Platform| {
        platform.os == "linux" && platform.architecture == host_architecture()
    };
    let found = index.manifests.iter().find(|one| one.platform.as_ref().is_some_and(fits));
    let any = index.manifests.iter().find(|one| one.platform.is_none());
    let Some(found) = found.or(any) else {
        let host = host_architecture();
        return Err(refuse(format!("the image is not for linux on {host}")));
    };
    let path = blob(layout, &found.digest)?;
    if !found.media_type.contains("index") && !found.media_type.contains("manifest.list") {
        return read(&path);
    }
    if depth > 4 {
        return Err(refuse("indexes without end"));
    }
    choose(layout, &read(&path)?, depth + 1)
}

fn hex_of(digest: &str) -> Result<&str> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    match hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
        true => Ok(hex),
        false => Err(refuse(format!("{digest:?} is no sha256 digest"))),
    }
}

/// A blob, found to be what its name says.
fn blob(layout: &Path, digest: &str) -> Result<PathBuf> {
    let hex = hex_of(digest)?;
    let path = layout.join("blobs/sha256").join(hex);
    let found = File::open(&path).and_then(sha256).map_err(|source| io_error(&path, source))?;
    match found == hex {
        true => Ok(path),
        false => Err(refuse(format!("blob {hex} is in truth {found}"))),
    }
}

fn within(layout: &Path, name: &str) -> Result<PathBuf> {
    let plain = Path::new(name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    match plain {
        // docker's archives link equal layers to each other.
        true => {
            layout.join(name).canonicalize().map_err(|e| io_error(Path::new(name), e)).and_then(
                |path| {
                    let root = layout.canonicalize().map_err(|e| io_error(layout, e))?;
                    if path.starts_with(root) {
                        Ok(path)
                    } else {
                        Err(Error::Escape { path: name.into() })
                    }
                },
            )
        }
        false => Err(Error::Escape { path: name.into() }),
    }
}

pub fn sha256(mut reader: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut reader, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a layer takes away from those below, from OCI's form to overlayfs's: `.wh.NAME` becomes a
/// character device 0/0 of that name, `.wh..wh..opq` an attribute of the directory.
fn whiteouts(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            whiteouts(&path)?;
            continue;
        }
        let name = entry.file_name();
        let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") else { continue };
        fs::remove_file(&path)?;
        if hidden == b".wh..opq" {
            crate::namespace::sys::set_xattr(directory, c"user.overlay.opaque", b"y")?;
        } else if !hidden.starts_with(b".wh.") {
            let hidden = directory.join(std::ffi::OsStr::from_bytes(hidden));
            if hidden.symlink_metadata().is_err() {
                crate::namespace::sys::make_whiteout(&hidden)?;
            }
        }
    }
    Ok(())
}
