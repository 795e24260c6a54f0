/* The encoder's choice of each position's mode, by rate and distortion: see choice.py. */

#include "kernels.h"

enum { HELD, KINDS = 4, MODES = 8 };

void icm_choose_modes(int64_t count, int64_t channels, const float *wanted, const int16_t *rounded,
                      const int16_t *predictions, const float *extra, const float *bits, const float *weights,
                      const float *doublings, int64_t doubling_count, int64_t *modes, int16_t *coded) {
    float per_error = 1 / weights[0], symbol = weights[1], doubling = weights[2], position = weights[3];
    for (int64_t number = 0; number < count; number++) {
        const float *here = wanted + number * channels;
        const int16_t *whole = rounded + number * channels;
        float left = 0, least = 0;
        for (int64_t channel = 0; channel < channels; channel++) {
            float error = here[channel] - (float)whole[channel];
            left += error * error;
        }
        int64_t best = -1;
        for (int kind = 0; kind < KINDS; kind++) {
            const int16_t *there = predictions + (kind * count + number) * channels;
            float lost = 0, doubled = 0;
            int64_t differing = 0;
            for (int64_t channel = 0; channel < channels; channel++) {
                float error = here[channel] - (float)there[channel];
                lost += error * error;
                int difference = whole[channel] - there[channel];
                if (difference == 0) continue;
                int64_t magnitude = difference < 0 ? -difference : difference;
                differing++;
                doubled += doublings[magnitude < doubling_count ? magnitude : doubling_count - 1];
            }
            float vectors = extra[kind * count + number];
            float differences = symbol * (float)differing + doubling * doubled + position;
            float costs[2] = {lost * per_error + vectors, left * per_error + differences + vectors};
            for (int coded_too = 0; coded_too < 2; coded_too++) {
                int64_t mode = 2 * kind + coded_too;
                /* Held positions are told by the map of moved ones, not by a mode. */
                float cost = costs[coded_too] + (mode == HELD ? 0 : bits[number * MODES + mode]);
                if (best < 0 || cost < least) best = mode, least = cost;
            }
        }
        modes[number] = best;
        const int16_t *chosen = best & 1 ? whole : predictions + (best / 2 * count + number) * channels;
        for (int64_t channel = 0; channel < channels; channel++) coded[number * channels + channel] = chosen[channel];
    }
}
