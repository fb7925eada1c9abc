//! The machine that the simulator itself runs on.

/// Asks the host's memory for the beginning of something, without waiting.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn prefetch<T>(what: &T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: SSE is part of x86_64, and a prefetch neither faults nor changes anything.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(what).cast()) };
}

/// Asks nothing of hosts that it does not know.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn prefetch<T>(_: &T) {}

/// Which of sixteen bytes are `byte`, as a mask.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn equal_bytes(bytes: &[u8; 16], byte: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: SSE2 is part of x86_64, and the only memory touched is the array, at no alignment.
    unsafe {
        let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u32
    }
}

/// Which of sixteen bytes are `byte`, as a mask.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn equal_bytes(bytes: &[u8; 16], byte: u8) -> u32 {
    bytes.iter().rev().fold(0, |mask, other| mask << 1 | u32::from(*other == byte))
}

/// Which of some words, in fours and at most twenty, are `word`, as a mask.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn equal_words<const N: usize>(words: &[u32; N], word: u32) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_movemask_ps,
        _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi32, _mm_setzero_si128,
    };
    const { assert!(N.is_multiple_of(4) && N <= 20, "fours, five of them at most") };
    // SAFETY: SSE2 is part of x86_64, and of the memory touched, at no alignment, all is inside the array: `four` is below `N / 4`.
    unsafe {
        let equal = |four: usize| -> __m128i {
            if 4 * four >= N {
                return _mm_setzero_si128();
            }
            let words = _mm_loadu_si128(words.as_ptr().add(4 * four).cast());
            _mm_cmpeq_epi32(words, _mm_set1_epi32(word as i32))
        };
        let (low, high) = (_mm_packs_epi32(equal(0), equal(1)), _mm_packs_epi32(equal(2), equal(3)));
        let sixteen = _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32;
        if N <= 16 {
            return sixteen;
        }
        sixteen | (_mm_movemask_ps(_mm_castsi128_ps(equal(4))) as u32) << 16
    }
}

/// Which of some words, in fours and at most twenty, are `word`, as a mask.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn equal_words<const N: usize>(words: &[u32; N], word: u32) -> u32 {
    words.iter().rev().fold(0, |mask, other| mask << 1 | u32::from(*other == word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mask_has_a_bit_for_each_that_is_equal(
            words in prop::array::uniform20(0u32..3),
            bytes in prop::array::uniform16(0u8..3),
        ) {
            let mask = |equal: &mut dyn Iterator<Item = bool>| {
                (0..).zip(equal).map(|(at, equal)| u32::from(equal) << at).sum::<u32>()
            };
            prop_assert_eq!(equal_bytes(&bytes, 1), mask(&mut bytes.iter().map(|b| *b == 1)));
            let of = |n: usize| mask(&mut words[..n].iter().map(|w| *w == 2));
            prop_assert_eq!(equal_words(&words, 2), of(20));
            prop_assert_eq!(equal_words(words.first_chunk::<16>().unwrap(), 2), of(16));
            prop_assert_eq!(equal_words(words.first_chunk::<12>().unwrap(), 2), of(12));
            prop_assert_eq!(equal_words(words.first_chunk::<8>().unwrap(), 2), of(8));
        }
    }
}
