//! Two masks' run lengths side by side.

/// Walks two lists of runs with the same total side by side and hands over each stretch on which
/// neither changes. `stop_at_empty`: pycocotools takes two empty runs at one place, which no encoder
/// writes, for the end.
pub(super) fn walk(
    a: &[u32],
    b: &[u32],
    mut visit: impl FnMut(u32, bool, bool),
    stop_at_empty: bool,
) {
    let (mut a, mut b) = (a.iter().copied(), b.iter().copied());
    let (Some(mut left_a), Some(mut left_b)) = (a.next(), b.next()) else {
        return;
    };
    let (mut in_a, mut in_b) = (false, false);
    let refill = |left: &mut u32, rest: &mut dyn Iterator<Item = u32>, inside: &mut bool| {
        let next = if *left == 0 { rest.next() } else { None };
        if let Some(next) = next {
            *left = next;
            *inside = !*inside;
        }
        next.is_some()
    };
    loop {
        let length = left_a.min(left_b);
        visit(length, in_a, in_b);
        left_a -= length;
        left_b -= length;
        let moved_a = refill(&mut left_a, &mut a, &mut in_a);
        let moved_b = refill(&mut left_b, &mut b, &mut in_b);
        let empty = left_a == 0 && left_b == 0;
        if empty && (stop_at_empty || !(moved_a || moved_b)) {
            return;
        }
    }
}

/// The runs of the union of two masks of one size, or of their intersection.
pub(super) fn merge(a: &[u32], b: &[u32], intersect: bool) -> Vec<u32> {
    let mut counts = Vec::with_capacity(a.len() + b.len());
    let (mut inside, mut run) = (false, 0);
    let visit = |length, in_a, in_b| {
        let value = if intersect {
            in_a && in_b
        } else {
            in_a || in_b
        };
        if value != inside {
            counts.push(std::mem::take(&mut run));
            inside = value;
        }
        run += length;
    };
    walk(a, b, visit, false);
    if run > 0 || counts.is_empty() {
        counts.push(run);
    }
    counts
}

/// Pixels that are foreground in both of two masks of one size; no run but the first may be empty in
/// at least one of them.
pub(super) fn intersection(a: &[u32], b: &[u32]) -> u32 {
    let (a, b) = (a.as_chunks::<2>().0, b.as_chunks::<2>().0);
    let (mut a, mut b) = (a.iter(), b.iter());
    let (Some(&[gap_a, run_a]), Some(&[gap_b, run_b])) = (a.next(), b.next()) else {
        return 0;
    };
    // Start and end of the current foreground runs.
    let (mut start_a, mut start_b) = (gap_a, gap_b);
    let (mut end_a, mut end_b) = (gap_a + run_a, gap_b + run_b);
    let mut both = 0;
    loop {
        both += end_a.min(end_b).saturating_sub(start_a.max(start_b));
        if end_a <= end_b {
            let Some(&[gap, run]) = a.next() else {
                return both;
            };
            start_a = end_a + gap;
            end_a = start_a + run;
        } else {
            let Some(&[gap, run]) = b.next() else {
                return both;
            };
            start_b = end_b + gap;
            end_b = start_b + run;
        }
    }
}
