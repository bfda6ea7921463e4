// Three machines that share no folder: one prepares and submits, the coordinator keeps the dataset, a worker fetches it.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "base/strings.h"
#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

namespace fs = std::filesystem;

// The one folder under `dir` that has a dataset's name; empty when there is none.
std::string OneDataset(const std::string& dir) {
  std::string found;
  for (const auto& entry : fs::directory_iterator(dir)) {
    if (entry.path().filename().string().size() == 32) found = entry.path().filename();
  }
  return found;
}

TEST(DatasetTransferTest, ASubmittedSweepsDataReachesAWorkerThatSharesNothing) {
  Cluster cluster("dataset-transfer");
  cluster.StartCoordinator();
  cluster.StartWorker("w1", 1, /*shares_root=*/false);
  fs::create_directories(cluster.root() + "/texts");
  for (int i = 0; i < 200; ++i) {
    std::ofstream(StrCat(cluster.root(), "/texts/", i, ".txt")) << "the entropies of document " << i * i << " and of every head\n";
  }
  std::ofstream(cluster.root() + "/sweep.yaml")
      << "name: transfer\ndata: {path: texts, tokenizer: \"sentencepiece:bpe\", vocab_size: 320}\n"
         "model: {n_layer: 1, n_head: 2, n_embd: 16}\nvariants: [SM+LN+G]\n"
         "train: {steps: 3, batch_size: 2, context: 16, lr: 0.001}\nresources: {ranks_per_machine: 1}\n";
  Process submit = Process::Start({std::string(ENTRAIN_BIN_DIR) + "/entrain", "submit", cluster.root() + "/sweep.yaml", "--artifacts",
                                   cluster.root() + "/client", "--coordinator", cluster.address(), "--wait"},
                                  cluster.root() + "/submit.log");
  ASSERT_EQ(submit.Wait(150'000), 0) << cluster.LogTail("submit.log") << cluster.LogTail("w1.log") << cluster.LogTail("coordinator.log");
  const std::string hash = OneDataset(cluster.root() + "/client/datasets");
  ASSERT_FALSE(hash.empty());
  for (const char* copy : {"/artifacts/datasets/", "/w1/datasets/"}) {
    for (const char* file : {"/dataset.json", "/train-00000.tokens", "/tokenizer.model"}) {
      EXPECT_EQ(*ReadFile(StrCat(cluster.root(), "/client/datasets/", hash, file)),
                ReadFile(StrCat(cluster.root(), copy, hash, file)).value_or("missing"))
          << copy << file;
    }
  }
}

}  // namespace
}  // namespace entrain::testing
