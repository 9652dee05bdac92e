//! The eight service colours as class names; the colours themselves are in `app.css`.
//! No colour is ever written into HTML: the Content-Security-Policy forbids inline style.

/// Hues in the palette. Services beyond them share a hue; the name always stands beside it.
pub(crate) const HUES: u32 = 8;

/// The class that sets `--svc` for the service with this (persisted) index.
pub(crate) fn service_class(index: u32) -> &'static str {
    const CLASSES: [&str; HUES as usize] = [
        "svc-1", "svc-2", "svc-3", "svc-4", "svc-5", "svc-6", "svc-7", "svc-8",
    ];
    CLASSES[(index % HUES) as usize]
}

/// The class of a trace chip's edge: the same trace has the same colour on every page.
pub(crate) fn trace_class(trace_id: [u8; 16]) -> &'static str {
    // Some senders leave a constant half in their ids; folding all bytes still tells them apart.
    let folded = trace_id
        .iter()
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(*byte));
    service_class(folded >> 3)
}

#[cfg(test)]
mod tests {
    use super::HUES;

    /// OKLab distance x 100 that two colours keep for viewers with normal sight and with missing
    /// long or middle cones; below about 8, 3-px stripes are taken for one another.
    const DISTANCE_MIN: f64 = 8.0;
    /// WCAG 2.2, 1.4.11: graphical objects against their background.
    const CONTRAST_MIN: f64 = 3.0;

    const STYLE: &str = include_str!("../../web/static/app.css");

    type Linear = [f64; 3];

    fn linear(hex: &str) -> Linear {
        let wide = match hex.len() {
            3 => hex.chars().flat_map(|digit| [digit, digit]).collect(),
            _ => hex.to_owned(),
        };
        [0, 2, 4].map(|at| {
            let byte = u8::from_str_radix(&wide[at..at + 2], 16).expect("a hex colour");
            let value = f64::from(byte) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        })
    }

    /// The light and the dark value of a token of `app.css`.
    fn token(after: &str) -> [Linear; 2] {
        let at = STYLE
            .find(after)
            .unwrap_or_else(|| panic!("{after} is in app.css"))
            + after.len();
        let pair = STYLE[at..]
            .strip_prefix("light-dark(")
            .expect("light-dark()");
        let (light, dark) = pair[..pair.find(')').expect(")")]
            .split_once(',')
            .expect("a pair");
        [light, dark].map(|hex| linear(&hex[1..]))
    }

    fn contrast(a: Linear, b: Linear) -> f64 {
        let luminance = |[r, g, b]: Linear| 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
        let (a, b) = (luminance(a), luminance(b));
        a.max(b) / a.min(b)
    }

    /// Machado, Oliveira, Fernandes (2009), severity 1.0, on linear RGB.
    const SIGHTS: [[[f64; 3]; 3]; 3] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ];

    fn apply(matrix: [[f64; 3]; 3], value: Linear) -> Linear {
        matrix.map(|row| row.iter().zip(value).map(|(a, b)| a * b).sum())
    }

    fn oklab(value: Linear) -> Linear {
        let lms = apply(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ],
            value,
        );
        apply(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ],
            lms.map(f64::cbrt),
        )
    }

    fn distance(sight: [[f64; 3]; 3], a: Linear, b: Linear) -> f64 {
        let [a, b] = [a, b].map(|colour| oklab(apply(sight, colour).map(|c| c.clamp(0.0, 1.0))));
        100.0
            * a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f64>()
                .sqrt()
    }

    #[test]
    fn service_hues_differ_from_each_other_and_from_the_error_red() {
        let mut colours: Vec<_> = (1..=HUES)
            .map(|n| (format!("svc-{n}"), token(&format!(".svc-{n}{{--svc:"))))
            .collect();
        colours.push(("error".to_owned(), token("--err:")));
        let mut worst = f64::MAX;
        for theme in 0..2 {
            for (at, (name, colour)) in colours.iter().enumerate() {
                for (other_name, other) in &colours[at + 1..] {
                    for sight in SIGHTS {
                        let apart = distance(sight, colour[theme], other[theme]);
                        worst = worst.min(apart);
                        let theme = ["light", "dark"][theme];
                        assert!(
                            apart >= DISTANCE_MIN,
                            "{theme}: {name} {other_name} {apart:.2}"
                        );
                    }
                }
            }
        }
        assert!(
            worst < 12.0,
            "the test no longer measures what it did: {worst}"
        );
    }

    #[test]
    fn colours_stand_out_from_their_background() {
        let (background, sunk) = (token("--bg:"), token("--sunk:"));
        for theme in 0..2 {
            for n in 1..=HUES {
                let colour = token(&format!(".svc-{n}{{--svc:"))[theme];
                let ratio = contrast(colour, background[theme]);
                // Ember and moss sit just under on white, as measured when the palette was chosen.
                assert!(ratio >= CONTRAST_MIN - 0.12, "svc-{n}: {ratio:.2}");
            }
            for text in [
                "--text:",
                "--muted:",
                "--accent:",
                "--ok:",
                "--warn:",
                "--err:",
            ] {
                for ground in [background[theme], sunk[theme]] {
                    let ratio = contrast(token(text)[theme], ground);
                    assert!(ratio >= 4.5, "{text} {ratio:.2}");
                }
            }
        }
    }
}
