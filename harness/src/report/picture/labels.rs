// SPDX-License-Identifier: GPL-2.0-only
//! Where labels go so that none lies over another.

/// A place for each label, in their order: as near to the `wanted` one as its neighbours allow, `gap` apart, and none above
/// `top`. What does not fit goes on below.
pub fn spread(wanted: &[f64], gap: f64, top: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    // Labels that would touch form a block around the middle of what they want.
    let mut blocks: Vec<Block> = Vec::new();
    for index in order {
        let mut block = Block { first: wanted[index].max(top), sum: wanted[index], count: 1 };
        while let Some(above) = blocks.pop_if(|above| above.end(gap) > block.first) {
            block = above.joined(&block, gap, top);
        }
        blocks.push(block);
    }
    let mut sorted =
        blocks.iter().flat_map(|block| (0..block.count).map(move |n| block.first + gap * n as f64));
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut places = vec![0.0; wanted.len()];
    for index in order {
        places[index] = sorted.next().unwrap_or(top);
    }
    places
}

/// Labels without room between them.
struct Block {
    /// Where the first one is.
    first: f64,
    /// What they want, each less its distance from the first, summed up.
    sum: f64,
    count: usize,
}

impl Block {
    fn end(&self, gap: f64) -> f64 {
        self.first + gap * self.count as f64
    }

    fn joined(&self, below: &Block, gap: f64, top: f64) -> Block {
        let moved = below.sum - gap * (self.count * below.count) as f64;
        let (sum, count) = (self.sum + moved, self.count + below.count);
        Block { first: (sum / count as f64).max(top), sum, count }
    }
}

/// Which of `wanted`, the more important ones first, have room at exactly the place they want, at least `gap` from each
/// other.
pub fn thinned(wanted: &[f64], gap: f64) -> Vec<bool> {
    let mut kept: Vec<f64> = Vec::new();
    wanted
        .iter()
        .map(|place| {
            let free = kept.iter().all(|other| (other - place).abs() >= gap);
            kept.extend(free.then_some(*place));
            free
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GAP: f64 = 26.0;

    proptest! {
        #[test]
        fn labels_keep_their_order_and_their_distance(
            wanted in proptest::collection::vec(0.0..600.0f64, 0..40)
        ) {
            let places = spread(&wanted, GAP, 10.0);
            prop_assert_eq!(places.len(), wanted.len());
            let mut both: Vec<(f64, f64)> = wanted.iter().copied().zip(places).collect();
            both.sort_by(|a, b| a.1.total_cmp(&b.1));
            for pair in both.windows(2) {
                prop_assert!(pair[0].0 <= pair[1].0, "order: {pair:?}");
                prop_assert!(pair[1].1 - pair[0].1 >= GAP - 1e-6, "overlap: {pair:?}");
            }
            prop_assert!(both.iter().all(|(_, place)| *place >= 10.0));
        }

        #[test]
        fn kept_places_have_their_distance(
            wanted in proptest::collection::vec(0.0..600.0f64, 0..40)
        ) {
            let kept = thinned(&wanted, GAP);
            let places: Vec<f64> =
                wanted.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(w, _)| *w).collect();
            for (index, place) in places.iter().enumerate() {
                prop_assert!(places[..index].iter().all(|other| (other - place).abs() >= GAP));
            }
            prop_assert_eq!(kept.first().copied().unwrap_or(true), true);
        }
    }

    #[test]
    fn labels_with_room_stay_and_others_part_evenly() {
        assert_eq!(spread(&[100.0, 10.0, 300.0], GAP, 0.0), [100.0, 10.0, 300.0]);
        assert_eq!(spread(&[100.0, 100.0], GAP, 0.0), [87.0, 113.0]);
        assert_eq!(spread(&[0.0, 0.0], GAP, 5.0), [5.0, 31.0]);
        assert_eq!(thinned(&[50.0, 60.0, 80.0], GAP), [true, false, true]);
    }
}
