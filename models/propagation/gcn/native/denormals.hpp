// Numbers below 1e-38 count as 0 while an image is solved: vanishing probabilities would slow the CPU a hundredfold.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace gcn {

class FlushDenormals {
  public:
#if defined(__SSE2__)
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
    ~FlushDenormals() { _mm_setcsr(before_); }

  private:
    unsigned before_;
#endif
};

}  // namespace gcn
