/*
 * The contract that every engine keeps, tested once for each:
 *
 *     unit-storage-contract <engine> [<pattern of test names>]
 *
 * The cases are in contract_operations.c, contract_values.c and contract_random.c.
 */
#include "tests/unit/storage/contract_cases.h"

#include <stdio.h>

#include "tests/unit/storage/contract_support.h"

#define SKIPPED 77 /* to ctest */

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s wal | sqlite | mysql [PATTERN]\n", argv[0]);
        return 2;
    }
    if (argc > 2) {
        cmocka_set_test_filter(argv[2]);
    }
    if (!contract_choose(argv[1])) {
        (void)fprintf(stderr, "no engine, or no database server here: %s\n", argv[1]);
        return SKIPPED;
    }
    int failed = contract_operations() + contract_values() + contract_random();
    contract_end();
    return failed;
}
