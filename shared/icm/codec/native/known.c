/* What modes and vectors that are known already say about the next ones of a frame: see known.py. Integers only. */

#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { FAR = 1 << 12, LITTLE = 2, MOTION = 2, BACKGROUND = 6, MOST_CELLS = 12 };

typedef struct {
    int near[2], next[2], before[2], spread, context;
} Guess;

static int64_t stride_of(const Known *known) { return 2 * known->columns + 2; }

static int64_t size_of(const Known *known) { return (2 * known->rows + 2) * stride_of(known); }

static int64_t first_cell(const Known *known, int64_t position) {
    int64_t row = position / known->columns, column = position % known->columns;
    return (2 * row + 1) * stride_of(known) + 2 * column + 1;
}

static int64_t cell_of(const Known *known, int64_t position, int part) {
    return first_cell(known, position) + (part >> 1) * stride_of(known) + (part & 1);
}

static int apart(const int *one, const int *other) { return abs(one[0] - other[0]) + abs(one[1] - other[1]); }

/* Of the known vectors around, the one nearest to all others, the first of equals; then the nearest of those that
 * differ from it. Returns how many are known. */
static int nearest(const Known *known, int64_t first, int part, int64_t cell, Guess *guess) {
    int64_t stride = stride_of(known), size = size_of(known);
    int vectors[MOST_CELLS][2], far[MOST_CELLS], count = 0;
    int64_t corner = part ? cell - stride - 1 : first - stride - 1;
    int side = part ? 3 : 4;
    for (int row = 0; row < side; row++)
        for (int column = 0; column < side; column++) {
            int inside = row > 0 && row < side - 1 && column > 0 && column < side - 1;
            int64_t place = corner + row * stride + column;
            if (inside || !known->known[place]) continue;
            vectors[count][0] = known->vectors[place];
            vectors[count++][1] = known->vectors[size + place];
        }
    if (count == 0) {
        guess->spread = 0;
        return 0;
    }
    int chosen = 0;
    for (int one = 0; one < count; one++) {
        far[one] = 0;
        for (int other = 0; other < count; other++) far[one] += apart(vectors[one], vectors[other]);
        if (far[one] < far[chosen]) chosen = one;
    }
    int following = chosen, least = FAR, widest = 0;
    for (int other = 0; other < count; other++) {
        int away = apart(vectors[chosen], vectors[other]);
        if (away > widest) widest = away;
        if (away > 0 && far[other] < least) least = far[other], following = other;
    }
    memcpy(guess->near, vectors[chosen], sizeof guess->near);
    memcpy(guess->next, vectors[following], sizeof guess->next);
    guess->spread = widest == 0 ? 1 : widest <= LITTLE ? 2 : 3;
    return count;
}

/* The last frame's vector at a cell, or else beside its position, or else the drift. */
static void last_vector(const Known *known, int64_t first, int64_t cell, int *vector) {
    int64_t stride = stride_of(known), size = size_of(known);
    int64_t places[] = {cell, first - 1, first - stride, first + 2, first + 2 * stride};
    for (int number = 0; number < 5; number++)
        if (known->moved_before[places[number]]) {
            vector[0] = known->before[places[number]];
            vector[1] = known->before[size + places[number]];
            return;
        }
    vector[0] = known->drift[0], vector[1] = known->drift[1];
}

static Guess guess_of(const Known *known, int64_t position, int part) {
    Guess guess;
    int64_t first = first_cell(known, position), cell = cell_of(known, position, part);
    last_vector(known, first, cell, guess.before);
    if (nearest(known, first, part, cell, &guess) == 0) {
        memcpy(guess.near, guess.before, sizeof guess.near);
        memcpy(guess.next, guess.before, sizeof guess.next);
    }
    int same = apart(guess.near, guess.before) == 0, still = guess.near[0] == 0 && guess.near[1] == 0;
    guess.context = ((guess.spread * 2 + same) * 2 + still) * 2 + (part > 0);
    return guess;
}

static void learn(const Known *known, int64_t cell, int down, int right) {
    known->vectors[cell] = (int16_t)down;
    known->vectors[size_of(known) + cell] = (int16_t)right;
    known->known[cell] = 1;
}

void icm_mode_contexts(const Known *known, const int64_t *positions, int64_t count, int64_t *contexts) {
    int64_t stride = known->columns + 2;
    for (int64_t number = 0; number < count; number++) {
        int64_t position = positions[number];
        const uint8_t *corner = known->modes + position / known->columns * stride + position % known->columns;
        int travelled = 0, coded = 0, uncovered = 0;
        for (int row = 0; row < 3; row++)
            for (int column = 0; column < 3; column++) {
                int mode = corner[row * stride + column];
                travelled += mode >= MOTION && mode < BACKGROUND;
                coded += mode & 1;
                uncovered |= mode >= BACKGROUND;
            }
        int before = known->last_modes[position];
        int kind = before >= BACKGROUND ? 4 : before >= MOTION ? 2 + (before & 1) : before;
        if (travelled > 3) travelled = 3;
        if (coded > 2) coded = 2;
        contexts[number] = (((kind * 4 + travelled) * 3 + coded) * 2 + uncovered) * 2 + known->covered[position];
    }
}

void icm_guess(const Known *known, const int64_t *positions, int64_t count, int part, int64_t *vectors,
               int64_t *numbers) {
    for (int64_t number = 0; number < count; number++) {
        Guess guess = guess_of(known, positions[number], part);
        for (int axis = 0; axis < 2; axis++) {
            vectors[axis * count + number] = guess.near[axis];
            vectors[(2 + axis) * count + number] = guess.next[axis];
            vectors[(4 + axis) * count + number] = guess.before[axis];
        }
        numbers[number] = guess.spread;
        numbers[count + number] = guess.context;
    }
}

void icm_learn(const Known *known, const int64_t *positions, int64_t count, int part, const int64_t *vectors) {
    for (int64_t number = 0; number < count; number++)
        for (int other = part; other < (part ? part + 1 : 4); other++)
            learn(known, cell_of(known, positions[number], other), (int)vectors[number],
                  (int)vectors[count + number]);
}

void icm_forget(const Known *known, const int64_t *positions, int64_t count, int from_part) {
    for (int64_t number = 0; number < count; number++)
        for (int part = from_part; part < 4; part++) known->known[cell_of(known, positions[number], part)] = 0;
}

/* Which choice a vector is coded as: see coding.py. */
static int choice_of(const Guess *guess, const int *vector) {
    int still[2] = {0, 0};
    if (apart(vector, guess->near) == 0) return NEAR;
    if (apart(vector, guess->next) == 0) return NEXT;
    if (apart(vector, guess->before) == 0) return BEFORE;
    return apart(vector, still) == 0 ? ZERO : OTHER;
}

void icm_choices(const Known *known, const int64_t *positions, int64_t count, int part, const int64_t *vectors,
                 int64_t *symbols) {
    for (int64_t number = 0; number < count; number++) {
        Guess guess = guess_of(known, positions[number], part);
        int vector[] = {(int)vectors[number], (int)vectors[count + number]};
        symbols[number] = choice_of(&guess, vector);
        symbols[count + number] = guess.context;
        symbols[2 * count + number] = vector[0] - guess.near[0];
        symbols[3 * count + number] = vector[1] - guess.near[1];
        symbols[4 * count + number] = guess.spread;
    }
}

static int clipped(int value, int reach) { return value < -reach ? -reach : value > reach ? reach : value; }

static float bits_of(const Costs *costs, const Guess *guess, const int *vector) {
    int choice = choice_of(guess, vector);
    float bits = costs->choices[guess->context * (OTHER + 1) + choice];
    if (choice != OTHER) return bits;
    int reach = (int)costs->reach, width = 2 * reach + 1;
    for (int axis = 0; axis < 2; axis++) {
        int offset = clipped(vector[axis] - guess->near[axis], reach) + reach;
        bits += costs->offsets[(axis * SPREADS + guess->spread) * width + offset];
    }
    return bits;
}

void icm_choose_vectors(const Known *known, const Pictures *pictures, const Costs *costs, const int64_t *positions,
                        int64_t count, const int64_t *tried, int64_t tries, int64_t *one, float *one_bits,
                        int64_t *four, float *four_bits) {
    for (int64_t number = 0; number < count; number++) {
        int64_t position = positions[number];
        int64_t row = position / known->columns, column = position % known->columns;
        int candidates[MOST_TRIED + 3][2];
        int32_t errors[MOST_TRIED + 3][4];
        Guess guess = guess_of(known, position, 0);
        for (int64_t which = 0; which < tries; which++)
            for (int axis = 0; axis < 2; axis++)
                candidates[which][axis] = (int)tried[(axis * tries + which) * count + number];
        four_bits[number] = 0;
        float least_whole = 0;
        for (int part = 0; part < 4; part++) {
            if (part) guess = guess_of(known, position, part);
            memcpy(candidates[tries], guess.near, sizeof guess.near);
            memcpy(candidates[tries + 1], guess.next, sizeof guess.next);
            memcpy(candidates[tries + 2], guess.before, sizeof guess.before);
            int best = -1;
            float least = 0, best_bits = 0;
            for (int which = 0; which < tries + 3; which++) {
                if (part == 0)
                    icm_block_errors(pictures, row, column, candidates[which], 0, 4, errors[which]);
                else if (which >= tries)
                    icm_block_errors(pictures, row, column, candidates[which], part, part + 1, errors[which]);
                float bits = bits_of(costs, &guess, candidates[which]);
                float cost = (float)errors[which][part] + costs->worth * bits;
                if (best < 0 || cost < least) best = which, least = cost, best_bits = bits;
                if (part) continue;
                float whole = costs->worth * bits;
                for (int each = 0; each < 4; each++) whole += (float)errors[which][each];
                if (which > 0 && whole >= least_whole) continue;
                least_whole = whole, one_bits[number] = bits;
                one[number] = candidates[which][0], one[count + number] = candidates[which][1];
            }
            int down = candidates[best][0], right = candidates[best][1];
            four[number * 4 + part] = down, four[(count + number) * 4 + part] = right;
            four_bits[number] += best_bits;
            learn(known, cell_of(known, position, part), down, right);
        }
        icm_forget(known, &position, 1, 0);
    }
}
