// SPDX-License-Identifier: GPL-2.0-only
//! The chi-square distribution.

/// No series here needs so many terms: some thousands do for a million degrees.
const MOST_TERMS: usize = 1_000_000;
const PRECISION: f64 = 1e-15;

/// The probability that a chi-square distributed number with so many degrees of freedom, at least one, is `statistic` or
/// more: the regularized incomplete gamma function Q(degrees/2, statistic/2) (Abramowitz and Stegun, 26.4.19).
pub fn upper_tail(statistic: f64, degrees: u64) -> f64 {
    let (a, x) = (degrees as f64 / 2.0, statistic / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    // x^a e^-x / Gamma(a), by logarithms because each factor alone overflows.
    let factor = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    match x < a + 1.0 {
        true => 1.0 - factor * series(a, x),
        false => factor * fraction(a, x),
    }
    .clamp(0.0, 1.0)
}

/// 1/a + x/(a (a+1)) + x^2/(a (a+1) (a+2)) + ... (26.4.6, 6.5.29)
fn series(a: f64, x: f64) -> f64 {
    let mut term = 1.0 / a;
    let mut sum = term;
    for n in 1..MOST_TERMS {
        term *= x / (a + n as f64);
        sum += term;
        if term < sum * PRECISION {
            break;
        }
    }
    sum
}

/// 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...))) (6.5.31, its even part), by the method of Lentz.
fn fraction(a: f64, x: f64) -> f64 {
    // Stands for 0 in a denominator.
    const TINY: f64 = 1e-300;
    let not_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / not_zero(b);
    let mut value = d;
    for n in 1..MOST_TERMS {
        let n = n as f64;
        let numerator = n * (a - n);
        b += 2.0;
        d = 1.0 / not_zero(numerator * d + b);
        c = not_zero(b + numerator / c);
        value *= c * d;
        if (c * d - 1.0).abs() < PRECISION {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, what: (f64, u64)) {
        let error = (found - expected).abs() / expected.abs();
        assert!(error < 1e-11, "{what:?}: found {found}, expected {expected}");
    }

    #[test]
    fn for_even_degrees_it_is_a_sum_of_poisson_probabilities() {
        for degrees in [2, 4, 10, 40, 300] {
            for statistic in [0.1, 0.5, 0.9, 1.0, 1.1, 1.5, 2.5].map(|part| part * degrees as f64) {
                let x: f64 = statistic / 2.0;
                let mut term = (-x).exp();
                let mut sum = 0.0;
                for n in 1..=degrees / 2 {
                    sum += term;
                    term *= x / n as f64;
                }
                close(upper_tail(statistic, degrees), sum, (statistic, degrees));
            }
        }
    }

    #[test]
    fn for_one_degree_it_is_the_error_function() {
        for statistic in [1e-6, 0.3, 1.0, 3.841, 40.0] {
            close(
                upper_tail(statistic, 1),
                libm::erfc(libm::sqrt(statistic / 2.0)),
                (statistic, 1),
            );
        }
    }

    #[test]
    fn critical_values_are_those_of_the_table() {
        // NIST/SEMATECH handbook, 1.3.6.7.4, 5 %.
        for (degrees, critical) in
            [(1, 3.841), (5, 11.070), (10, 18.307), (50, 67.505), (99, 123.225)]
        {
            assert!((upper_tail(critical, degrees) - 0.05).abs() < 2e-5, "{degrees}");
        }
    }

    #[test]
    fn many_degrees_are_within_the_approximation_of_wilson_and_hilferty() {
        for degrees in [1_000u64, 4_011, 100_000, 2_000_000] {
            let many = degrees as f64;
            for (deviations, p) in [(2.326_347_9, 0.01), (0.0, 0.5), (-2.326_347_9, 0.99)] {
                let c = 2.0 / (9.0 * many);
                let critical = many * (1.0 - c + deviations * c.sqrt()).powi(3);
                assert!((upper_tail(critical, degrees) - p).abs() < 1e-4, "{degrees} {deviations}");
            }
            assert!(upper_tail(1.5 * many, degrees) < 1e-20);
            assert!(upper_tail(0.5 * many, degrees) > 1.0 - 1e-9);
        }
    }

    #[test]
    fn the_ends_are_one_and_zero() {
        for degrees in [1, 2, 1_000, 2_000_000] {
            assert_eq!(upper_tail(0.0, degrees), 1.0);
            assert!(upper_tail(1e-300, degrees) > 1.0 - 1e-9);
            assert_eq!(upper_tail(1e300, degrees), 0.0);
        }
    }
}
