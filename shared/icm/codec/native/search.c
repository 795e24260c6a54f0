/* The encoder's search for where blocks of a picture were in the reference: see search.py. */

#include "kernels.h"

enum { STRIDE = 16, HALF = 8, COARSE = 4, SIDE = STRIDE / COARSE, REACH = 8, VECTOR_MAX = 63 };
enum { AGAINST_LONG = 32 };

void icm_brightness_of_picture(const uint8_t *picture, int64_t pixels, int16_t *brightness) {
    for (int64_t pixel = 0; pixel < pixels; pixel++) {
        const uint8_t *colours = picture + 3 * pixel;
        brightness[pixel] = (int16_t)(colours[0] + 2 * colours[1] + colours[2] - 510);
    }
}

void icm_brightness_of_linear(const int16_t *picture, int64_t pixels, int16_t *brightness) {
    for (int64_t pixel = 0; pixel < pixels; pixel++) {
        const int16_t *colours = picture + 3 * pixel;
        brightness[pixel] = (int16_t)((colours[0] + 2 * colours[1] + colours[2] + 8) >> 4);
    }
}

static int64_t within(int64_t value, int64_t end) { return value < 0 ? 0 : value >= end ? end - 1 : value; }

static int32_t block_error(const Pictures *pictures, int64_t top, int64_t left, int down, int right) {
    int64_t width = pictures->width, there_top = top + down, there_left = left + right;
    int32_t sum = 0;
    int inside = there_top >= 0 && there_top + HALF <= pictures->height && there_left >= 0 && there_left + HALF <= width;
    for (int row = 0; row < HALF; row++) {
        const int16_t *here = pictures->source + (top + row) * width + left;
        const int16_t *line = pictures->reference + within(there_top + row, pictures->height) * width;
        if (inside) {
            for (int column = 0; column < HALF; column++) {
                int32_t difference = here[column] - line[there_left + column];
                sum += difference * difference;
            }
        } else {
            /* The picture's border goes on for ever outside it. */
            for (int column = 0; column < HALF; column++) {
                int32_t difference = here[column] - line[within(there_left + column, width)];
                sum += difference * difference;
            }
        }
    }
    return sum;
}

void icm_block_errors(const Pictures *pictures, int64_t row, int64_t column, const int *vector, int from_part,
                      int to_part, int32_t *errors) {
    for (int part = from_part; part < to_part; part++) {
        int64_t top = row * STRIDE + (part >> 1) * HALF, left = column * STRIDE + (part & 1) * HALF;
        errors[part] = block_error(pictures, top, left, vector[0], vector[1]);
    }
}

static int64_t whole_error(const Pictures *pictures, int64_t row, int64_t column, const int *vector) {
    int32_t errors[4];
    icm_block_errors(pictures, row, column, vector, 0, 4, errors);
    return (int64_t)errors[0] + errors[1] + errors[2] + errors[3];
}

/* The best vector at a quarter of the resolution, in pixels; the small reference has a border of REACH. */
static void coarse(const Pictures *pictures, const int16_t *source, const int16_t *reference, int64_t row,
                   int64_t column, int *vector) {
    int64_t width = pictures->width / COARSE, bordered = width + 2 * REACH;
    int64_t least = INT64_MAX;
    for (int down = -REACH; down <= REACH; down++)
        for (int right = -REACH; right <= REACH; right++) {
            const int16_t *there = reference + (row * SIDE + down + REACH) * bordered + column * SIDE + right + REACH;
            int64_t cost = AGAINST_LONG * ((down < 0 ? -down : down) + (right < 0 ? -right : right));
            for (int line = 0; line < SIDE; line++)
                for (int place = 0; place < SIDE; place++) {
                    int64_t difference = source[(row * SIDE + line) * width + column * SIDE + place] -
                                         there[line * bordered + place];
                    cost += difference * difference;
                }
            if (cost < least) least = cost, vector[0] = COARSE * down, vector[1] = COARSE * right;
        }
}

static int clipped(int value) { return value < -VECTOR_MAX ? -VECTOR_MAX : value > VECTOR_MAX ? VECTOR_MAX : value; }

void icm_search(const Pictures *pictures, const int16_t *small_source, const int16_t *small_reference,
                const int64_t *positions, int64_t count, int64_t *vectors) {
    int64_t columns = pictures->width / STRIDE;
    for (int64_t number = 0; number < count; number++) {
        int64_t row = positions[number] / columns, column = positions[number] % columns;
        int best[2] = {0, 0};
        coarse(pictures, small_source, small_reference, row, column, best);
        for (int step = 2; step > 0; step--) {
            int middle[2] = {clipped(best[0]), clipped(best[1])};
            /* Of equals the middle one, so that what is plain does not wander. */
            int64_t least = whole_error(pictures, row, column, middle);
            for (int down = -1; down <= 1; down++)
                for (int right = -1; right <= 1; right++) {
                    int near[2] = {clipped(middle[0] + step * down), clipped(middle[1] + step * right)};
                    int64_t error = whole_error(pictures, row, column, near);
                    if (error < least) least = error, best[0] = near[0], best[1] = near[1];
                }
        }
        vectors[number] = best[0], vectors[count + number] = best[1];
    }
}
