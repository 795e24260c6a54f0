/* Blocks of the linear picture and latents, in whole numbers: see prediction.py, linear_path.py and rescale.py. */

#include "kernels.h"

enum { STRIDE = 16, HALF = 8, COLOURS = 3 };

static int64_t within(int64_t value, int64_t end) { return value < 0 ? 0 : value >= end ? end - 1 : value; }

void icm_moved_blocks(const int16_t *picture, int64_t height, int64_t width, const int64_t *positions, int64_t count,
                      const int8_t *vectors, double *blocks) {
    int64_t columns = width / STRIDE;
    for (int64_t number = 0; number < count; number++) {
        int64_t top = positions[number] / columns * STRIDE, left = positions[number] % columns * STRIDE;
        double *block = blocks + number * STRIDE * STRIDE * COLOURS;
        for (int line = 0; line < STRIDE; line++)
            for (int half = 0; half < 2; half++) {
                int part = (line / HALF) * 2 + half;
                int64_t down = vectors[number * 4 + part], right = vectors[(count + number) * 4 + part];
                const int16_t *there = picture + within(top + line + down, height) * width * COLOURS;
                for (int place = half * HALF; place < (half + 1) * HALF; place++) {
                    const int16_t *pixel = there + within(left + place + right, width) * COLOURS;
                    for (int colour = 0; colour < COLOURS; colour++) *block++ = pixel[colour];
                }
            }
    }
}

/* One value times a power of two with a fraction, as rescale.py defines it: power holds, of each channel, the factor,
 * the shift and the largest magnitude that matters. */
static int64_t times_power(int64_t value, const int64_t *power, int64_t channels, int64_t channel, int64_t largest) {
    int64_t factor = power[channel], shift = power[channels + channel], cut = power[2 * channels + channel];
    int64_t magnitude = value < 0 ? -value : value;
    if (magnitude > cut) magnitude = cut;
    int64_t rounded = (magnitude * factor + ((int64_t)1 << (shift - 1))) >> shift;
    if (rounded > largest) rounded = largest;
    return value < 0 ? -rounded : rounded;
}

/* Divided by 2**shift, rounded half up; the sums are whole numbers below 2**53. */
static int64_t divided(double sum, int shift) { return ((int64_t)sum + ((int64_t)1 << (shift - 1))) >> shift; }

void icm_unscaled(const int16_t *latents, int64_t count, int64_t channels, const int64_t *power, int64_t largest,
                  double *unscaled) {
    for (int64_t number = 0; number < count; number++)
        for (int64_t channel = 0; channel < channels; channel++) {
            int64_t at = number * channels + channel;
            unscaled[at] = (double)times_power(latents[at], power, channels, channel, largest);
        }
}

void icm_scaled(const double *sums, int64_t count, int64_t channels, int shift, const int64_t *power, int64_t largest,
                int32_t *scaled) {
    for (int64_t number = 0; number < count; number++)
        for (int64_t channel = 0; channel < channels; channel++) {
            int64_t at = number * channels + channel;
            scaled[at] = (int32_t)times_power(divided(sums[at], shift), power, channels, channel, largest);
        }
}

void icm_pixels(const double *sums, int64_t count, int shift, int64_t largest, int16_t *pixels) {
    for (int64_t at = 0; at < count; at++) {
        int64_t value = divided(sums[at], shift);
        pixels[at] = (int16_t)(value < -largest ? -largest : value > largest ? largest : value);
    }
}
