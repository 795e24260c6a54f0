/* What entropy coding does with every latent: see integer_network.py and coder.py. */

#include "kernels.h"

void icm_predictions(const float *result, int64_t count, int64_t half, float limit, float last, int32_t *means,
                     uint8_t *indexes) {
    for (int64_t number = 0; number < count; number++) {
        const float *of_means = result + number * 2 * half, *of_indexes = of_means + half;
        for (int64_t at = 0; at < half; at++) {
            float mean = of_means[at], index = of_indexes[at];
            mean = mean < -limit ? -limit : mean > limit ? limit : mean;
            index = index < 0 ? 0 : index > last ? last : index;
            means[number * half + at] = (int32_t)mean;
            indexes[number * half + at] = (uint8_t)(int32_t)index;
        }
    }
}

int64_t icm_expected(const int32_t *means, const int32_t *indexes, int64_t count, const uint8_t *deterministic,
                     const int32_t *certain, int64_t tables, int64_t *places, uint8_t *sure, int32_t *expected) {
    for (int64_t table = 0; table < tables; table++) places[table] = 0;
    int64_t coded = 0;
    for (int64_t at = 0; at < count; at++) {
        int32_t table = indexes[at];
        expected[at] = means[at] + certain[table];
        sure[at] = deterministic[table];
        if (!sure[at]) places[table]++, coded++;
    }
    return coded;
}

void icm_coding_order(const int32_t *indexes, const uint8_t *sure, int64_t count, int64_t tables, int64_t *places,
                      int64_t *order, int32_t *order_tables) {
    /* A counting sort, which keeps those of one table in their order. */
    int64_t first = 0;
    for (int64_t table = 0; table < tables; table++) {
        int64_t here = places[table];
        places[table] = first;
        first += here;
    }
    for (int64_t at = 0; at < count; at++)
        if (!sure[at]) {
            int64_t place = places[indexes[at]]++;
            order[place] = at;
            order_tables[place] = indexes[at];
        }
}
