"""One MoCo v2 pretraining step in PyTorch, for comparison with `inscon-train pretrain`.

The work of a step: EMA of the key encoder, key forward without gradients, query forward and
backward, InfoNCE over a queue, SGD with momentum, enqueue. Random images in memory: no data loading.

    OMP_WAIT_POLICY=passive python step.py 18 64 32
    OMP_WAIT_POLICY=passive python step.py 50 224 8
"""

import copy
import statistics
import sys
import time

import torch
import torchvision

depth, size, batch = (int(a) for a in sys.argv[1:4])
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 8
torch.set_num_threads(2)
torch.manual_seed(0)
query = getattr(torchvision.models, f"resnet{depth}")()
width = query.fc.in_features
query.fc = torch.nn.Sequential(
    torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 128)
)
key = copy.deepcopy(query).requires_grad_(False)
optimizer = torch.optim.SGD(query.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
queue = torch.nn.functional.normalize(torch.randn(4096, 128), dim=1)
images = torch.randn(2, batch, 3, size, size)
pointer = 0
times = []
for step in range(steps + 2):
    started = time.perf_counter()
    with torch.no_grad():
        for q, k in zip(query.parameters(), key.parameters()):
            k.mul_(0.999).add_(q, alpha=0.001)
        keys = torch.nn.functional.normalize(key(images[1]), dim=1)
    queries = torch.nn.functional.normalize(query(images[0]), dim=1)
    positive = (queries * keys).sum(1, keepdim=True)
    logits = torch.cat([positive, queries @ queue.T], 1) / 0.2
    loss = torch.nn.functional.cross_entropy(logits, torch.zeros(batch, dtype=torch.long))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        rows = (pointer + torch.arange(batch)) % len(queue)
        queue[rows] = keys
        pointer = (pointer + batch) % len(queue)
    times.append(time.perf_counter() - started)
print(f"resnet{depth} {size} px batch {batch}: {batch / statistics.median(times[2:]):.1f} img/s, "
      f"torch {torch.__version__}")
