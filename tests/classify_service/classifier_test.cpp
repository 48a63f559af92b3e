#include "classifier.h"

#include <doctest/doctest.h>

using classify::Classifier;
using classify::Example;

namespace {

std::vector<Example> all_examples() {
  auto examples = classify::read_examples(BUSINESSES_TSV);
  REQUIRE(examples.has_value());
  return *examples;
}

}  // namespace

TEST_CASE("clear sentences get the right label") {
  const Classifier classifier(all_examples());
  CHECK(classifier.classify("We bake bread, cakes and pastries").front().label == "bakery");
  CHECK(classifier.classify("Divorce and inheritance law for families").front().label == "law");
  CHECK(classifier.classify("Custom SOFTWARE and cloud hosting").front().label == "software");
  CHECK(classifier.classify("organic vegetables and cows on the farm").front().label == "farming");
}

TEST_CASE("the probabilities add up to one, the most probable first") {
  const Classifier classifier(all_examples());
  const auto scores = classifier.classify("pizza and pasta with wine");
  double sum = 0;
  for (const auto& score : scores) sum += score.probability;
  CHECK(sum == doctest::Approx(1));
  for (std::size_t i = 1; i < scores.size(); ++i)
    CHECK(scores[i - 1].probability >= scores[i].probability);
}

TEST_CASE("most of what it has not seen is classified right") {
  const auto examples = all_examples();
  std::vector<Example> training, held_out;
  for (std::size_t i = 0; i < examples.size(); ++i)
    (i % 5 == 4 ? held_out : training).push_back(examples[i]);
  const Classifier classifier(training);
  std::size_t right = 0;
  for (const Example& example : held_out)
    right += classifier.classify(example.text).front().label == example.label;
  MESSAGE(right << " of " << held_out.size() << " held-out descriptions");
  // Guessing would get 1 in 11.
  CHECK(right * 2 > held_out.size());
}

TEST_CASE("a text with no known word still gets an answer") {
  const Classifier classifier(all_examples());
  CHECK(classifier.classify("").size() == classifier.label_count());
  CHECK(classifier.classify("zzzz qqqq").front().probability > 0);
}

TEST_CASE("a line without a tab is named") {
  const auto examples = classify::read_examples(CLASSIFIER_BAD_TSV);
  REQUIRE_FALSE(examples.has_value());
  CHECK(examples.error().ends_with("bad.tsv:2: expected label<TAB>text"));
}
