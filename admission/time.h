#pragma once

#include "admission/measure/time.h"

namespace classgate::admission {

using measure::Duration;
using measure::Time;

}  // namespace classgate::admission
