//! How sectors of encrypted disks are encrypted: AES-256 in XTS mode, 512 bytes at a time, the sector's
//! number as the tweak, as dm-crypt's `aes-xts-plain64` does it. A sector of zeros is none that was
//! written: holes of a file read as zeros.
//!
//! A crate of its own so that it is optimised in every build.

use aes::cipher::{Block, BlockDecrypt, BlockEncrypt, KeyInit};
use aes::{Aes256, Aes256Dec, Aes256Enc};
use zeroize::Zeroizing;

/// Two keys of AES-256. Wiped from memory when dropped.
pub type Key = Zeroizing<[u8; 64]>;

pub const SECTOR: usize = 512;

const BLOCK: usize = 16;

pub struct Sectors {
    encrypt: Aes256Enc,
    decrypt: Aes256Dec,
    tweak: Aes256Enc,
}

impl Sectors {
    pub fn new(key: &Key) -> Sectors {
        let (data, tweak) = key.split_at(32);
        Sectors {
            encrypt: Aes256Enc::new(data.into()),
            decrypt: Aes256Dec::new(data.into()),
            tweak: Aes256Enc::new(tweak.into()),
        }
    }

    /// Whole sectors, from the one of this number on.
    pub fn encrypt(&self, first: u64, data: &mut [u8]) {
        for (number, sector) in numbered(first, data) {
            self.encrypt_one(number, sector);
        }
    }

    /// As `encrypt`, but what is zeros stays zeros: it need not be written.
    pub fn encrypt_sparsely(&self, first: u64, data: &mut [u8]) {
        for (number, sector) in numbered(first, data).filter(|(_, sector)| !is_zero(sector)) {
            self.encrypt_one(number, sector);
        }
    }

    pub fn decrypt(&self, first: u64, data: &mut [u8]) {
        for (number, sector) in numbered(first, data).filter(|(_, sector)| !is_zero(sector)) {
            self.masked(number, sector, |blocks| self.decrypt.decrypt_blocks(blocks));
        }
    }

    fn encrypt_one(&self, number: u64, sector: &mut [u8]) {
        self.masked(number, sector, |blocks| self.encrypt.encrypt_blocks(blocks));
    }

    /// XTS of IEEE 1619-2007: each block of a sector goes through the cipher under a mask of its own, all
    /// of them at once.
    fn masked(&self, number: u64, sector: &mut [u8], cipher: impl Fn(&mut [Block<Aes256>])) {
        let mut first = Block::<Aes256>::default();
        first[..8].copy_from_slice(&number.to_le_bytes());
        self.tweak.encrypt_block(&mut first);
        let mut mask = u128::from_le_bytes(first.into());
        let mut masks = [0u128; SECTOR / BLOCK];
        for each in &mut masks {
            *each = mask;
            // Times x in the field of 2^128 elements.
            mask = mask << 1 ^ if mask >> 127 == 1 { 0x87 } else { 0 };
        }
        let mut blocks = [Block::<Aes256>::default(); SECTOR / BLOCK];
        for ((block, data), mask) in blocks.iter_mut().zip(sector.chunks_exact(BLOCK)).zip(masks) {
            let data = u128::from_le_bytes(data.try_into().expect("a block"));
            *block = (data ^ mask).to_le_bytes().into();
        }
        cipher(&mut blocks);
        for ((block, data), mask) in blocks.iter().zip(sector.chunks_exact_mut(BLOCK)).zip(masks) {
            let block = u128::from_le_bytes((*block).into());
            data.copy_from_slice(&(block ^ mask).to_le_bytes());
        }
    }
}

fn numbered(first: u64, data: &mut [u8]) -> impl Iterator<Item = (u64, &mut [u8])> {
    debug_assert!(data.len().is_multiple_of(SECTOR));
    (first..).zip(data.chunks_exact_mut(SECTOR))
}

pub fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sectors(byte: u8) -> Sectors {
        let mut key = Key::new([0; 64]);
        for (n, at) in key.iter_mut().enumerate() {
            *at = byte.wrapping_add(n as u8);
        }
        Sectors::new(&key)
    }

    /// IEEE 1619-2007, appendix B, vector 10.
    #[test]
    fn is_the_standards_xts() {
        let hex = |text: &str| -> Vec<u8> {
            let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
            digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
        };
        let key = hex("2718281828459045235360287471352662497757247093699959574966967627\
             3141592653589793238462643383279502884197169399375105820974944592");
        let mut data: Vec<u8> = (0..=255).chain(0..=255).collect();
        let plain = data.clone();
        let sectors = Sectors::new(&Key::new(key.try_into().unwrap()));
        sectors.encrypt(0xff, &mut data);
        assert_eq!(data[..16], hex("1c3b3a102f770386e4836c99e370cf9b"));
        sectors.decrypt(0xff, &mut data);
        assert_eq!(data, plain);
    }

    proptest! {
        #[test]
        fn opens_to_what_was_sealed(
            seed: u8,
            first in 0..u64::MAX / 1024,
            mut data in proptest::collection::vec(any::<u8>(), 1..=6 * SECTOR),
            holes in proptest::collection::vec(any::<bool>(), 6),
        ) {
            data.resize(data.len().next_multiple_of(SECTOR), 7);
            for (sector, _) in data.chunks_exact_mut(SECTOR).zip(holes).filter(|(_, hole)| *hole) {
                sector.fill(0);
            }
            let (plain, sectors) = (data.clone(), sectors(seed));
            sectors.encrypt(first, &mut data);
            // Each sector for itself, and none as any other or as it was.
            for (n, sector) in plain.chunks_exact(SECTOR).enumerate() {
                let mut one = sector.to_vec();
                sectors.encrypt(first + n as u64, &mut one);
                prop_assert_eq!(&one, &data[n * SECTOR..][..SECTOR]);
                prop_assert_ne!(&one, sector);
                let mut other = sector.to_vec();
                sectors.encrypt(first + n as u64 + 1, &mut other);
                prop_assert_ne!(&one, &other);
            }
            sectors.decrypt(first, &mut data);
            prop_assert_eq!(&data, &plain);
            sectors.encrypt_sparsely(first, &mut data);
            for (cipher, sector) in data.chunks_exact(SECTOR).zip(plain.chunks_exact(SECTOR)) {
                prop_assert_eq!(is_zero(cipher), is_zero(sector));
            }
            sectors.decrypt(first, &mut data);
            prop_assert_eq!(&data, &plain);
        }

        #[test]
        fn no_other_key_opens_it(data in proptest::collection::vec(any::<u8>(), SECTOR)) {
            let mut sealed = data.clone();
            sectors(1).encrypt(5, &mut sealed);
            sectors(2).decrypt(5, &mut sealed);
            prop_assert_ne!(sealed, data);
        }
    }
}
