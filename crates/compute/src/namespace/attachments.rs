//! Which disks an instance has: what the driver does about them, its shims do the rest (`disks.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::crypt::views::{self, Opened};
use super::disks::{self, Backed};
use super::driver::Inner;
use super::errands::Request;
use super::pool::{failed, plain};
use super::volumes;
use crate::{Disk, DiskSource, Error, Result};

/// More do not fit into one message to the child.
const MOST_DISKS: usize = 16;

/// What can never work.
pub fn check(disks: &[Disk]) -> Result<()> {
    let refuse = |why: String| Err(Error::Spec(why));
    if disks.len() > MOST_DISKS {
        return refuse(format!("{} disks; there can be {MOST_DISKS}", disks.len()));
    }
    let (mut names, mut devices) = (BTreeSet::new(), BTreeSet::new());
    for disk in disks {
        if !plain(&disk.name) || !names.insert(&disk.name) {
            return refuse(format!("{:?} cannot be the name of a disk", disk.name));
        }
        if !disks::is_device(&disk.device) || !devices.insert(&disk.device) {
            return refuse(format!("{:?} cannot be a device", disk.device));
        }
        if disk.iops == Some(0) || disk.bytes_per_second == Some(0) {
            return refuse(format!("{} would be without any speed", disk.name));
        }
    }
    Ok(())
}

impl Inner {
    /// What a disk is made of, to be held until it is plugged in. `plugged`: it may be in there already.
    /// Makes an instance store when it is to be new. Blocking.
    pub fn backed(&self, id: &str, disk: &Disk, plugged: bool) -> Result<(Backed, Opened)> {
        let file = match &disk.source {
            DiskSource::Volume(volume) => {
                let file = self.pool.path("volumes", volume)?;
                if !file.exists() {
                    return Err(Error::Spec(format!("no volume {volume}")));
                }
                file
            }
            DiskSource::InstanceStore { bytes, since } => {
                let directory = self.pool.path("stores", id)?;
                let file = directory.join(format!("{}.{since}", disk.name));
                if !file.exists() {
                    fs::create_dir_all(&directory).map_err(failed(&disk.name))?;
                    remove_store(&directory, &disk.name)?;
                    volumes::copy(None, &file, *bytes).map_err(failed(&disk.name))?;
                }
                file
            }
        };
        let living = views::living(&self.config.state_dir, &file).filter(|_| plugged);
        let opened = match living {
            Some(view) => Opened::Living(view),
            None => self.open_view(&file, false).map_err(failed(&disk.name))?,
        };
        let (file, view) = (opened.path().to_owned(), opened.is_view());
        Ok((Backed { disk: disk.clone(), file, view }, opened))
    }

    pub async fn plug_disk(self: &Arc<Self>, id: &str, disk: Disk) -> Result<()> {
        check(std::slice::from_ref(&disk))?;
        let Some(slot) = self.slot(id) else { return Ok(()) };
        let _op = slot.op.lock().await;
        if !slot.runs() {
            return Ok(());
        }
        let known = slot.state().disks.iter().any(|known| known.name == disk.name);
        let (inner, id, its) = (self.clone(), id.to_owned(), disk.clone());
        let task = tokio::task::spawn_blocking(move || inner.backed(&id, &its, known)).await;
        let (backed, opened) = task.map_err(|error| Error::Host(error.to_string()))??;
        slot.ask(Request::Plug(backed)).await?;
        drop(opened);
        let mut state = slot.state();
        if state.to_shim.is_some() {
            state.disks.retain(|known| known.name != disk.name);
            state.disks.push(disk);
        }
        Ok(())
    }

    pub async fn unplug_disk(&self, id: &str, name: &str, force: bool) -> Result<()> {
        let Some(slot) = self.slot(id) else { return Ok(()) };
        let _op = slot.op.lock().await;
        if slot.runs() {
            slot.ask(Request::Unplug { name: name.to_owned(), force }).await?;
            slot.state().disks.retain(|known| known.name != name);
        } else if self.pool.exists() {
            remove_store(&self.pool.path("stores", id)?, name)?;
        }
        Ok(())
    }

    /// A volume has grown: the instance that has it shall see it.
    pub async fn tell_grown(&self, volume: &str) -> Result<()> {
        let is = |disk: &&Disk| matches!(&disk.source, DiskSource::Volume(v) if v == volume);
        let slots: Vec<_> = self.slots().values().cloned().collect();
        for slot in slots {
            let name = slot.state().disks.iter().find(is).map(|disk| disk.name.clone());
            if let Some(name) = name {
                slot.ask(Request::Grown(name)).await?;
            }
        }
        Ok(())
    }

    /// Of an instance that is no more.
    pub fn discard_disks(&self, id: &str) -> Result<()> {
        if !self.pool.exists() {
            return Ok(());
        }
        let root = self.pool.path("roots", id)?;
        views::forget(&self.config.state_dir, &root).map_err(failed("root"))?;
        match fs::remove_file(root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("root")(error));
            }
            _ => {}
        }
        let stores = self.pool.path("stores", id)?;
        match fs::remove_dir_all(&stores) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("instance stores")(error))
            }
            _ => Ok(()),
        }
    }

    /// Takes the pool up, and removes from it what belongs to no instance.
    pub fn adopt_disks(&self, instances: &BTreeSet<String>) -> Result<()> {
        views::sweep(&self.config.state_dir).map_err(failed("views"))?;
        if !self.pool.exists() {
            return Ok(());
        }
        self.adopt_roots(instances)?;
        let stores = self.pool.directory()?.join("stores");
        for entry in fs::read_dir(stores).map_err(failed("instance stores"))? {
            let id = entry.map_err(failed("instance stores"))?.file_name();
            let id = id.to_string_lossy();
            if !instances.contains(&*id) {
                self.discard_disks(&id)?;
            }
        }
        Ok(())
    }
}

/// Of whatever boot.
fn remove_store(directory: &Path, name: &str) -> Result<()> {
    let is = |file: &str| file.rsplit_once('.').is_some_and(|(of, _)| of == name);
    remove_where(directory, is).map_err(failed(name))
}

fn remove_where(directory: &Path, is: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if is(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
