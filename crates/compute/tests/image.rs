//! Importing archives, good and hostile ones.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use compute::image::{Error, import, import_any};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("image-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn write(&self, archive: &[u8]) -> PathBuf {
        let path = self.0.join("archive");
        fs::write(&path, archive).unwrap();
        path
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An entry with its name and link target written as they are, which the library would refuse to.
fn add(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, data: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o4755 });
    header.set_uid(1000);
    header.set_gid(1001);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, data).unwrap();
}

fn good() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, EntryType::Directory, "./", "", b"");
    add(&mut tar, EntryType::Directory, "usr/", "", b"");
    add(&mut tar, EntryType::Directory, "usr/bin/", "", b"");
    add(&mut tar, EntryType::Symlink, "bin", "usr/bin", b"");
    add(&mut tar, EntryType::Regular, "usr/bin/tool", "", b"#!/bin/sh\n");
    add(&mut tar, EntryType::Link, "usr/bin/same", "usr/bin/tool", b"");
    // Absolute links are right inside the image, and files may come through relative ones.
    add(&mut tar, EntryType::Symlink, "etc-link", "/etc/passwd", b"");
    add(&mut tar, EntryType::Regular, "bin/through", "", b"x");
    add(&mut tar, EntryType::Char, "dev/null", "", b"");
    tar.into_inner().unwrap()
}

#[test]
fn unpacks_plain_and_compressed() {
    let plain = good();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&plain).unwrap();
    let zst =
        ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
    for (name, archive) in [("plain", plain), ("gz", gz.finish().unwrap()), ("zst", zst)] {
        let place = Place::new(name);
        let imported = import(&place.write(&archive), &place.root()).unwrap();
        assert_eq!(imported.devices_left_out, 1, "{name}");
        let root = place.root();
        let tool = fs::metadata(root.join("usr/bin/tool")).unwrap();
        assert_eq!(tool.permissions().mode() & 0o7777, 0o4755, "{name}");
        // SAFETY: no arguments.
        if unsafe { libc::geteuid() } == 0 {
            assert_eq!((tool.uid(), tool.gid()), (1000, 1001), "{name}");
        }
        assert_eq!(tool.ino(), fs::metadata(root.join("usr/bin/same")).unwrap().ino());
        assert_eq!(fs::read(root.join("usr/bin/through")).unwrap(), b"x");
        assert_eq!(fs::read_link(root.join("etc-link")).unwrap(), Path::new("/etc/passwd"));
        assert!(!root.join("dev/null").exists());
        // What is there is never overwritten.
        let again = import(&place.write(&archive), &root);
        assert!(matches!(again, Err(Error::Exists(_))), "{name}: {again:?}");
    }
}

#[test]
fn refuses_to_leave_the_image() {
    type Add = fn(&mut Builder<Vec<u8>>, &str);
    let cases: [(&str, Add); 7] = [
        ("dots", |tar, _| add(tar, EntryType::Regular, "../evil", "", b"x")),
        ("inner dots", |tar, _| add(tar, EntryType::Regular, "usr/../../evil", "", b"x")),
        ("through an absolute link", |tar, outside| {
            add(tar, EntryType::Symlink, "out", outside, b"");
            add(tar, EntryType::Regular, "out/evil", "", b"x");
        }),
        ("through a relative link", |tar, _| {
            add(tar, EntryType::Symlink, "out", "..", b"");
            add(tar, EntryType::Regular, "out/evil", "", b"x");
        }),
        ("a directory through a link", |tar, outside| {
            add(tar, EntryType::Symlink, "out", outside, b"");
            add(tar, EntryType::Directory, "out/evil/", "", b"");
        }),
        ("hard link to dots", |tar, _| {
            add(tar, EntryType::Link, "usr/evil", "../precious", b"");
        }),
        ("hard link through a link", |tar, outside| {
            add(tar, EntryType::Symlink, "out", outside, b"");
            add(tar, EntryType::Link, "evil", "out/precious", b"");
        }),
    ];
    for (name, bad) in cases {
        let place = Place::new("escape");
        fs::write(place.0.join("precious"), "precious").unwrap();
        let mut tar = Builder::new(Vec::new());
        add(&mut tar, EntryType::Directory, "usr/", "", b"");
        let outside = place.0.to_str().unwrap();
        // The link target must fit into the header.
        let short = PathBuf::from(format!("/tmp/drover-escape-{}", std::process::id()));
        let _ = fs::remove_file(&short);
        std::os::unix::fs::symlink(outside, &short).unwrap();
        bad(&mut tar, short.to_str().unwrap());
        let result = import(&place.write(&tar.into_inner().unwrap()), &place.root());
        fs::remove_file(&short).unwrap();
        assert!(matches!(result, Err(Error::Escape { .. })), "{name}: {result:?}");
        let mut left: Vec<_> =
            fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["archive", "precious"], "{name}");
        let links = fs::metadata(place.0.join("precious")).unwrap().nlink();
        assert_eq!(links, 1, "{name}");
    }
}

/// A file over a link that an earlier entry made replaces the link and is not written through it.
#[test]
fn does_not_write_through_a_link() {
    let place = Place::new("through");
    let precious = PathBuf::from(format!("/tmp/drover-precious-{}", std::process::id()));
    fs::write(&precious, "precious").unwrap();
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, EntryType::Directory, "usr/", "", b"");
    add(&mut tar, EntryType::Symlink, "usr/out", precious.to_str().unwrap(), b"");
    add(&mut tar, EntryType::Regular, "usr/out", "", b"evil");
    let result = import(&place.write(&tar.into_inner().unwrap()), &place.root());
    let mut text = String::new();
    fs::File::open(&precious).unwrap().read_to_string(&mut text).unwrap();
    fs::remove_file(&precious).unwrap();
    assert_eq!(text, "precious");
    result.unwrap();
    assert_eq!(fs::read(place.root().join("usr/out")).unwrap(), b"evil");
}

#[test]
fn refuses_what_is_no_root_file_system() {
    let place = Place::new("no-root");
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, EntryType::Regular, "readme", "", b"x");
    let archive = tar.into_inner().unwrap();
    assert!(matches!(import(&place.write(&archive), &place.root()), Err(Error::NotARoot(_))));
    // Cut short, no archive at all, not there.
    let whole = good();
    for bad in [&whole[..whole.len() / 2 + 100], b"hello".repeat(400).as_slice()] {
        assert!(import(&place.write(bad), &place.root()).is_err());
        assert!(!place.root().exists());
    }
    assert!(import(&place.0.join("none"), &place.root()).is_err());
}

fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn layer(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, name, text) in entries {
        add(&mut tar, *kind, name, "", text.as_bytes());
    }
    tar.into_inner().unwrap()
}

fn two_layers() -> [Vec<u8>; 2] {
    use EntryType::{Directory, Regular};
    [
        layer(&[
            (Directory, "usr/", ""),
            (Regular, "usr/kept", "1"),
            (Regular, "usr/gone", "1"),
            (Directory, "etc/", ""),
            (Directory, "etc/all/", ""),
            (Regular, "etc/all/old", "1"),
        ]),
        layer(&[
            (Directory, "usr/", ""),
            (Regular, "usr/.wh.gone", ""),
            (Directory, "etc/", ""),
            (Directory, "etc/all/", ""),
            (Regular, "etc/all/.wh..wh..opq", ""),
            (Regular, "etc/all/new", "2"),
        ]),
    ]
}

fn config(architecture: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|data| format!("sha256:{}", digest(data))).collect();
    json!({"architecture": architecture, "os": "linux", "rootfs": {"diff_ids": ids}})
        .to_string()
        .into_bytes()
}

/// As `docker save` writes it.
fn saved(architecture: &str) -> Vec<u8> {
    let layers = two_layers();
    let config = config(architecture, &layers);
    let manifest = json!([{"Config": "config.json", "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    let mut tar = Builder::new(Vec::new());
    for (name, data) in [
        ("a/layer.tar", &layers[0]),
        ("b/layer.tar", &layers[1]),
        ("config.json", &config),
        ("manifest.json", &manifest.to_string().into_bytes()),
    ] {
        add(&mut tar, EntryType::Regular, name, "", data);
    }
    tar.into_inner().unwrap()
}

#[test]
fn container_images_share_layers_and_take_files_away() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("ignored: whiteouts need root");
        return;
    }
    let place = Place::new("oci");
    let archive = place.write(&saved(compute::oci::host_architecture()));
    let (layers, _) = import_any(&archive, &place.root()).unwrap();
    assert!(!place.root().exists(), "the archive's own form is not kept");
    let [lower, upper] = &layers[..] else { panic!("{layers:?}") };
    assert!(lower.join("usr/gone").is_file());
    let gone = fs::symlink_metadata(upper.join("usr/gone")).unwrap();
    assert_eq!((gone.mode() & libc::S_IFMT, gone.rdev()), (libc::S_IFCHR, 0));
    assert!(!upper.join("usr/.wh.gone").exists() && upper.join("etc/all/new").is_file());

    // What overlayfs makes of it.
    let merged = place.0.join("merged");
    fs::create_dir(&merged).unwrap();
    let status = std::process::Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o"])
        .arg(format!("lowerdir={}:{},userxattr", upper.display(), lower.display()))
        .arg(&merged)
        .status();
    assert!(status.unwrap().success());
    let seen = |path: &str| merged.join(path).exists();
    let all = ["usr/kept", "usr/gone", "etc/all/old", "etc/all/new"].map(seen);
    let status = std::process::Command::new("umount").arg(&merged).status();
    assert!(status.unwrap().success());
    assert_eq!(all, [true, false, false, true]);

    // The same layers again, by an OCI layout that compresses them.
    let marker = lower.join("usr/marker");
    fs::write(&marker, "").unwrap();
    let layout = place.0.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let blob = |data: &[u8]| {
        fs::write(layout.join("blobs/sha256").join(digest(data)), data).unwrap();
        json!({"digest": format!("sha256:{}", digest(data)), "size": data.len()})
    };
    let layers = two_layers();
    let packed = layers.each_ref().map(|data| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        writer.write_all(data).unwrap();
        blob(&writer.finish().unwrap())
    });
    let config = blob(&config(compute::oci::host_architecture(), &layers));
    let manifest = json!({"config": config, "layers": packed}).to_string().into_bytes();
    let index = json!({"manifests": [blob(&manifest)]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let (again, imported) = import_any(&layout, &place.root()).unwrap();
    assert_eq!((again.len(), imported.files), (2, 0));
    assert!(marker.exists(), "a layer that is there is not unpacked again");

    // A blob that is not what it is called.
    fs::write(layout.join("blobs/sha256").join(digest(&manifest)), "{}").unwrap();
    let error = import_any(&layout, &place.root()).unwrap_err();
    assert!(error.to_string().contains("in truth"), "{error}");
}

#[test]
fn images_for_other_processors_and_plain_directories_are_refused() {
    let place = Place::new("foreign");
    let archive = place.write(&saved("s390x"));
    let error = import_any(&archive, &place.root()).unwrap_err();
    assert!(error.to_string().contains("s390x"), "{error}");
    assert!(!place.root().exists());
    let directory = place.0.join("plain");
    fs::create_dir_all(directory.join("usr")).unwrap();
    assert!(matches!(import_any(&directory, &place.root()), Err(Error::NotARoot(_))));
}
