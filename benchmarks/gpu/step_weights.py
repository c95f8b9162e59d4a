"""Whole nets D and E: the convolutions of Oxford's E from inside the package, and random fully connected layers.

D takes the layers of E that it has. So values grow from layer to layer as in a trained net, which a random one lacks;
speed depends on neither. `torchvision` is a random net D with torchvision's preprocessing.
"""

import torch
from job import Job

from vggfeat import nets, weights


def save(job: Job, name: str, net: str, preprocessing: weights.Preprocessing, known: dict[str, torch.Tensor]) -> None:
    width = 1 / 16 if job.rehearse else 1
    vgg = nets.VGG(net, width=width, top="fc7")
    if not job.rehearse:
        vgg = vgg.to("cuda")  # draws 140 million numbers at once
    generator = torch.Generator(job.device).manual_seed(0)
    with torch.no_grad():
        for tensor in vgg.parameters():
            spread = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.0
            tensor.normal_(0, spread, generator=generator) if spread else tensor.zero_()
    tensors = {key: known.get(key, tensor).cpu() for key, tensor in vgg.state_dict().items()}
    weights.save(
        job.weights(name), tensors, net=net, width=width, preprocessing=preprocessing, lineage="random",
        source="for timing only", licence="none", classes=None,
    )  # fmt: skip


def main() -> None:
    job = Job()
    known: dict[str, torch.Tensor] = {}
    if not job.rehearse:
        known = dict(weights.load(weights.resolve("oxford-int8", "E", "pool5"), "pool5").state_dict())
    for net in ("E", "D"):
        save(job, net, net, weights.OXFORD, known)
    save(job, "torchvision", "D", weights.TORCHVISION, {})
    job.note(made=sorted(file.name for file in job.scratch.glob("*.safetensors")), photos=len(job.photos(2**20)))


if __name__ == "__main__":
    main()
