/* What Python asks of compiled code, in the order of the calls of a frame. Arrays are contiguous; sizes are checked by
 * the callers in Python. Whatever a decoder does here is whole numbers and the same on every machine. */

#ifndef ICM_KERNELS_H
#define ICM_KERNELS_H

#include <stdint.h>

enum { NEAR, NEXT, BEFORE, ZERO, OTHER };
enum { SPREADS = 4, MOST_TRIED = 16 };

/* Modes and vectors of a frame as they become known. Planes of cells (8x8 pixels) and of positions (16x16) have a
 * border of one on all sides. */
typedef struct {
    int64_t rows, columns;       /* positions */
    const uint8_t *last_modes;   /* [rows * columns] */
    const uint8_t *covered;      /* [rows * columns] */
    uint8_t *modes;              /* [(rows + 2) * (columns + 2)] */
    int16_t *vectors;            /* [2][cells], rows then columns */
    uint8_t *known;              /* [cells] */
    const int16_t *before;       /* [2][cells] */
    const uint8_t *moved_before; /* [cells] */
    int32_t drift[2];
} Known;

/* Brightness in quarters of a grey level, int16[height][width], sides multiples of 16. */
typedef struct {
    int64_t height, width;
    const int16_t *source, *reference;
} Pictures;

typedef struct {
    const float *choices; /* [contexts][OTHER + 1], bits */
    const float *offsets; /* [2 * SPREADS][2 * reach + 1], bits */
    int64_t reach;
    float worth; /* squared quarter levels that a bit is worth */
} Costs;

/* Bits that a difference takes, about: see choice.py. */
typedef struct {
    float per_error, symbol, doubling, position;
    const float *doublings; /* of magnitudes; what is larger counts as the last */
    int64_t doubling_count;
} Weights;

/* known.c */
void icm_mode_contexts(const Known *, const int64_t *positions, int64_t count, int64_t *contexts);
void icm_guess(const Known *, const int64_t *positions, int64_t count, int part, int64_t *vectors, int64_t *numbers);
void icm_learn(const Known *, const int64_t *positions, int64_t count, int part, const int64_t *vectors);
void icm_forget(const Known *, const int64_t *positions, int64_t count, int from_part);
void icm_choices(const Known *, const int64_t *positions, int64_t count, int part, const int64_t *vectors,
                 int64_t *symbols);
void icm_choose_vectors(const Known *, const Pictures *, const Costs *, const int64_t *positions, int64_t count,
                        const int64_t *tried, int64_t tries, int64_t *one, float *one_bits, int64_t *four,
                        float *four_bits);

/* search.c */
void icm_brightness_of_picture(const uint8_t *picture, int64_t pixels, int16_t *brightness);
void icm_brightness_of_linear(const int16_t *picture, int64_t pixels, int16_t *brightness);
void icm_block_errors(const Pictures *, int64_t row, int64_t column, const int *vector, int from_part, int to_part,
                      int32_t *errors);
void icm_search(const Pictures *, const int16_t *small_source, const int16_t *small_reference,
                const int64_t *positions, int64_t count, int64_t *vectors);

/* prediction.c */
void icm_moved_blocks(const int16_t *picture, int64_t height, int64_t width, const int64_t *positions, int64_t count,
                      const int8_t *vectors, double *blocks);
void icm_unscaled(const int16_t *latents, int64_t count, int64_t channels, const int64_t *power, int64_t largest,
                  double *unscaled);
void icm_scaled(const double *sums, int64_t count, int64_t channels, int shift, const int64_t *power, int64_t largest,
                int32_t *scaled);
void icm_pixels(const double *sums, int64_t count, int shift, int64_t largest, int16_t *pixels);

/* modes.c */
void icm_choose_modes(const Weights *, int64_t count, int64_t channels, const float *wanted, const int16_t *rounded,
                      const int16_t *predictions, const float *extra, const float *bits, int64_t *modes,
                      int16_t *coded);

/* version.c: a checksum of these sources. */
uint32_t icm_sources(void);

/* quantise.c */
void icm_quantise(int64_t count, const float *wanted, const int32_t *means, const int32_t *indexes, const float *bits,
                  const int64_t *ranges, int64_t tables, float worth, int32_t *chosen);

/* entropy.c */
void icm_predictions(const float *result, int64_t count, int64_t half, float limit, float last, int32_t *means,
                     uint8_t *indexes);
int64_t icm_expected(const int32_t *means, const int32_t *indexes, int64_t count, const uint8_t *deterministic,
                     const int32_t *certain, int64_t tables, int64_t *places, uint8_t *sure, int32_t *expected);
void icm_coding_order(const int32_t *indexes, const uint8_t *sure, int64_t count, int64_t tables, int64_t *places,
                      int64_t *order, int32_t *order_tables);

#endif
