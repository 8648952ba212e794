/* cmocka's own header, and what has changed in its version 2: assert_in_range() has another name,
 * and a macro is called stop. */
#pragma once

#include_next <cmocka.h>

#ifdef assert_uint_in_range
#undef assert_in_range
#define assert_in_range assert_uint_in_range
#endif
#undef stop
