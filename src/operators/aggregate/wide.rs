//! Signed integers of a fixed number of 64-bit limbs: exact sums of weighted values that never overflow.
//!
//! Two's complement, least significant limb first. `N` is chosen by the caller so that the widest value times the
//! largest possible total weight (63 bits) fits; then addition wraps nowhere, and a sum that goes back to zero is
//! all zero bits again.

use num_bigint::BigInt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wide<const N: usize>(pub [u64; N]);

impl<const N: usize> Wide<N> {
    pub const ZERO: Wide<N> = Wide([0; N]);

    pub fn is_zero(&self) -> bool {
        self.0 == [0; N]
    }

    /// Adds `magnitude * weight`, or its negative.
    #[inline]
    pub fn add_product(&mut self, magnitude: &[u64], negative: bool, weight: i64) {
        let factor = u128::from(weight.unsigned_abs());
        let subtract = negative != (weight < 0);
        let mut product = 0u128;
        let mut carry = false;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let part = magnitude.get(at).copied().unwrap_or(0);
            product += u128::from(part) * factor;
            let term = product as u64;
            product >>= 64;
            let (next, first) = if subtract { limb.overflowing_sub(term) } else { limb.overflowing_add(term) };
            let (next, second) = match subtract {
                true => next.overflowing_sub(u64::from(carry)),
                false => next.overflowing_add(u64::from(carry)),
            };
            *limb = next;
            carry = first | second;
        }
    }

    pub fn to_bigint(self) -> BigInt {
        let bytes: Vec<u8> = self.0.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        BigInt::from_signed_bytes_le(&bytes)
    }

    /// The value, if 128 bits hold it.
    pub fn to_i128(self) -> Option<i128> {
        let value = i128::from(self.0[0]) | i128::from(self.0[1]) << 64;
        let sign = if value < 0 { u64::MAX } else { 0 };
        self.0[2..].iter().all(|limb| *limb == sign).then_some(value)
    }

    pub fn limbs(self) -> Vec<u64> {
        self.0.to_vec()
    }

    pub fn from_limbs(limbs: &[u64]) -> Option<Wide<N>> {
        limbs.try_into().ok().map(Wide)
    }
}

/// Product of two magnitudes; `out` has room for both lengths together.
pub fn multiply(left: &[u64], right: &[u64], out: &mut [u64]) {
    out.fill(0);
    for (i, l) in left.iter().enumerate() {
        let mut carry = 0u128;
        for (j, r) in right.iter().enumerate() {
            carry += u128::from(*l) * u128::from(*r) + u128::from(out[i + j]);
            out[i + j] = carry as u64;
            carry >>= 64;
        }
        out[i + right.len()] = carry as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_weighted_products_agree_with_big_integers() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut wide = Wide::<5>::ZERO;
        let mut expected = BigInt::from(0);
        let mut terms = Vec::new();
        for _ in 0..1000 {
            let magnitude = [next(), next(), next(), next() >> 1];
            let negative = next() % 2 == 0;
            let weight = next() as i64 >> (next() % 63);
            let weight = weight / 1000;
            let value = Wide::<5>([magnitude[0], magnitude[1], magnitude[2], magnitude[3], 0]).to_bigint() * weight;
            expected += if negative { -value } else { value };
            wide.add_product(&magnitude, negative, weight);
            assert_eq!(wide.to_bigint(), expected);
            terms.push((magnitude, negative, weight));
        }
        for (magnitude, negative, weight) in terms {
            wide.add_product(&magnitude, negative, -weight);
        }
        assert!(wide.is_zero());
    }

    #[test]
    fn narrow_values_come_back() {
        for value in [0i128, 1, -1, i128::MAX, i128::MIN, 1 << 70, -(1 << 70)] {
            let magnitude = value.unsigned_abs();
            let mut wide = Wide::<5>::ZERO;
            wide.add_product(&[magnitude as u64, (magnitude >> 64) as u64], value < 0, 1);
            assert_eq!(wide.to_i128(), Some(value));
        }
        let mut wide = Wide::<5>::ZERO;
        wide.add_product(&[0, 0, 1], true, 1);
        assert_eq!(wide.to_i128(), None);
    }

    #[test]
    fn products_of_magnitudes() {
        let mut out = [0; 4];
        multiply(&[u64::MAX, u64::MAX], &[u64::MAX, u64::MAX], &mut out);
        assert_eq!(out, [1, 0, u64::MAX - 1, u64::MAX]);
    }
}
