/* The encoder's choice of each position's mode, by rate and distortion: see choice.py. */

#include "kernels.h"

enum { HELD, KINDS = 4, MODES = 8 };

/* What one latent costs in bits where differences are coded: left as it is predicted, or as a difference. */
static float channel_cost(const Weights *weights, float wanted, int32_t whole, int32_t there, int *differs) {
    float error = wanted - (float)there, left = wanted - (float)whole;
    float lost = error * error * weights->per_error;
    int64_t magnitude = whole < there ? (int64_t)there - whole : (int64_t)whole - there;
    *differs = 0;
    if (magnitude == 0) return lost;
    int64_t place = magnitude < weights->doubling_count ? magnitude : weights->doubling_count - 1;
    float coded = left * left * weights->per_error + weights->symbol + weights->doubling * weights->doublings[place];
    *differs = coded < lost;
    return coded < lost ? coded : lost;
}

void icm_choose_modes(const Weights *weights, int64_t count, int64_t channels, const float *wanted,
                      const int16_t *rounded, const int16_t *predictions, const float *extra, const float *bits,
                      int64_t *modes, int16_t *coded) {
    int differs;
    for (int64_t number = 0; number < count; number++) {
        const float *here = wanted + number * channels;
        const int16_t *whole = rounded + number * channels;
        float least = 0;
        int64_t best = -1;
        for (int kind = 0; kind < KINDS; kind++) {
            const int16_t *there = predictions + (kind * count + number) * channels;
            float without = extra[kind * count + number], with = without + weights->position;
            for (int64_t channel = 0; channel < channels; channel++) {
                float error = here[channel] - (float)there[channel];
                without += error * error * weights->per_error;
                with += channel_cost(weights, here[channel], whole[channel], there[channel], &differs);
            }
            float costs[2] = {without, with};
            for (int coded_too = 0; coded_too < 2; coded_too++) {
                int64_t mode = 2 * kind + coded_too;
                /* Held positions are told by the map of moved ones, not by a mode. */
                float cost = costs[coded_too] + (mode == HELD ? 0 : bits[number * MODES + mode]);
                if (best < 0 || cost < least) best = mode, least = cost;
            }
        }
        modes[number] = best;
        const int16_t *there = predictions + (best / 2 * count + number) * channels;
        for (int64_t channel = 0; channel < channels; channel++) {
            channel_cost(weights, here[channel], whole[channel], there[channel], &differs);
            coded[number * channels + channel] = best & 1 && differs ? whole[channel] : there[channel];
        }
    }
}
