#include "gateway/planning/forecast_page.h"

#include <algorithm>
#include <cmath>

#include "gateway/planning/forecast_page_text.h"
#include "gateway/planning/output.h"

namespace classgate::planning {

int write_forecast_page(const std::string& path, const Series& series,
                        const nlohmann::ordered_json& report) {
  nlohmann::ordered_json data = report;
  data["recent"] = nlohmann::ordered_json::array();
  const auto week = static_cast<std::size_t>(std::chrono::days(7) / series.step);
  const std::size_t size = series.values.size();
  for (std::size_t i = size - std::min(size, week); i < size; ++i)
    if (std::isnan(series.values[i]))
      data["recent"].push_back(nullptr);
    else
      data["recent"].push_back(series.values[i]);
  return write_page(path, forecast_page_template, data) ? 0 : 1;
}

}  // namespace classgate::planning
