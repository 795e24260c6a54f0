/* Values chosen by rate and distortion: see quantisation.py. */

#include "kernels.h"

static int32_t nearest(float value) { return (int32_t)(value < 0 ? value - 0.5F : value + 0.5F); }

static float bits_of(const float *bits, const int64_t *ranges, int64_t tables, int32_t table, int64_t symbol) {
    int64_t length = ranges[tables + table], place = symbol - ranges[2 * tables + table];
    /* The last place is the escape's. */
    if (place < 0 || place >= length) place = length - 1;
    return bits[ranges[table] + place];
}

void icm_quantise(int64_t count, const float *wanted, const int32_t *means, const int32_t *indexes, const float *bits,
                  const int64_t *ranges, int64_t tables, float worth, int32_t *chosen) {
    for (int64_t number = 0; number < count; number++) {
        float value = wanted[number];
        int32_t mean = means[number], close = nearest(value);
        int32_t inwards = close > mean ? close - 1 : close < mean ? close + 1 : close;
        /* What is nearest, one less of a surprise, what is expected, and no difference at all. */
        int32_t candidates[] = {close, inwards, mean, 0};
        float least = 0;
        for (int which = 0; which < 4; which++) {
            float error = value - (float)candidates[which];
            int64_t symbol = (int64_t)candidates[which] - mean;
            float cost = error * error + worth * bits_of(bits, ranges, tables, indexes[number], symbol);
            if (which == 0 || cost < least) least = cost, chosen[number] = candidates[which];
        }
    }
}
