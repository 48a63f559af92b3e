#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace classify {

struct Example {
  std::string label;
  std::string text;
};

// Reads "label<TAB>text" lines. The error names the file and the line.
std::expected<std::vector<Example>, std::string> read_examples(const std::string& path);

struct Score {
  std::string label;
  double probability;
};

// Multinomial naive Bayes over lower-cased words, with Laplace smoothing, in log space. Immutable
// after training; deterministic.
class Classifier {
 public:
  explicit Classifier(const std::vector<Example>& examples);

  // All labels, the most probable first; the probabilities add up to one.
  std::vector<Score> classify(std::string_view text) const;

  std::size_t label_count() const { return labels_.size(); }
  std::size_t document_count() const { return documents_; }
  std::size_t vocabulary_size() const { return words_.size(); }

 private:
  struct Label {
    std::string name;
    std::size_t documents = 0;
    std::size_t words = 0;
  };
  std::size_t label_index(const std::string& name);

  std::vector<Label> labels_;
  std::unordered_map<std::string, std::vector<std::size_t>> words_;  // count for each label
  std::size_t documents_ = 0;
};

}  // namespace classify
