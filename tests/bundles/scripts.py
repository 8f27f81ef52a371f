"""What bundles keep under ``scripts/``: small stand-ins that play the part of the zoo's own code."""

UNEST = '''
import torch


class UNesT(torch.nn.Module):
    """In the place of a transformer with 87 million parameters."""

    def __init__(self, in_channels, out_channels, patch_size=4, depths=(2, 2, 8), embed_dim=(128, 256, 512), num_heads=(4, 8, 16)):
        super().__init__()
        self.layers = torch.nn.Conv3d(in_channels, out_channels, 3, padding=1)

    def forward(self, image):
        return self.layers(image)
'''

#: Several phases become the channels of one image, whose geometry is then only known from the phases.
MY_TRANSFORMS = """
import numpy as np
import torch
from monai.transforms import InvertibleTransform
from monai.transforms.transform import MapTransform


class ConcatImages(MapTransform, InvertibleTransform):
    def __init__(self, keys_merge, keys_out, allow_missing_keys=True):
        self.keys_merge, self.keys_out = keys_merge, keys_out
        self.allow_missing_keys = allow_missing_keys

    def __call__(self, data):
        data[self.keys_out] = np.concatenate([data[key] for key in self.keys_merge])
        data[self.keys_out + "_meta_dict"] = data[self.keys_merge[0] + "_meta_dict"]
        return data

    def inverse(self, data):
        return data


class MergeClassesd(MapTransform):
    def __call__(self, data):
        for key in self.key_iterator(data):
            merged = torch.zeros_like(data[key][:1])
            for number, channel in enumerate(data[key]):
                merged = torch.where((merged == 0) & (channel > 0)[None], float(number), merged)
            data[key] = merged
        return data
"""

FEATURES = '''
import torch


class SmallPyramid(torch.nn.Module):
    """In the place of a ResNet-50 with a feature pyramid, which MONAI builds on torchvision."""

    def __init__(self, out_channels=8):
        super().__init__()
        self.out_channels = out_channels
        self.first = torch.nn.Conv3d(1, out_channels, 3, stride=4, padding=1)
        self.second = torch.nn.Conv3d(out_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, image):
        first = torch.relu(self.first(image))
        return [first, self.second(first)]
'''

DETECTION_INFERER = """
import numpy as np
from monai.inferers.inferer import Inferer


class RetinaNetInferer(Inferer):
    def __init__(self, detector):
        self.detector = detector
        self.window = np.prod(detector.inferer.roi_size) if detector.inferer is not None else None

    def __call__(self, inputs, network, *args, **kwargs):
        self.detector.network = network
        self.detector.training = network.training
        is_large = self.window is not None and any(image[0].numel() >= self.window for image in inputs)
        return self.detector(inputs, *args, use_inferer=is_large, **kwargs)
"""

DETECTION_EVALUATOR = """
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.utils import IterationEvents


def prepare(batch, device=None, non_blocking=False, **kwargs):
    return [item["image"].to(device=device, non_blocking=non_blocking, **kwargs) for item in batch], None


class DetectionEvaluator(SupervisedEvaluator):
    def __init__(self, **options):
        super().__init__(prepare_batch=prepare, **options)

    def _register_decollate(self):
        @self.on(IterationEvents.MODEL_COMPLETED)
        def _decollate(engine):
            output = engine.state.output
            engine.state.output = [
                {key: values[number] for key, values in output.items() if values is not None} for number in range(len(output["image"]))
            ]
"""

DETECTION_SAVER = """
class DetectionSaver:
    def __init__(self, **options):
        raise AssertionError("a saver was built")
"""

PROMPT_EVALUATOR = '''
import torch
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.transforms import reset_ops_id


class PromptEvaluator(SupervisedEvaluator):
    """Segments what it is asked for, or everything that it knows."""

    def __init__(self, device, hyper_kwargs=None, **options):
        super().__init__(device=device, **options)
        self.device, self.hyper_kwargs = device, hyper_kwargs

    def _iteration(self, engine, batchdata):
        wanted = batchdata.get("label_prompt")
        wanted = torch.as_tensor([engine.hyper_kwargs["everything_labels"] if wanted is None else wanted])[0].reshape(-1, 1)
        inputs = batchdata["image"].to(engine.device)
        engine.state.output = {"image": inputs, "label": None}
        with engine.mode(engine.network):
            engine.state.output["pred"] = engine.inferer(inputs=inputs, network=engine.network, class_vector=wanted.to(inputs.device))
        reset_ops_id(inputs)
        engine.state.output["label_prompt"] = wanted.unsqueeze(0)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output
'''

PROMPT_INFERER = """
from monai.inferers import Inferer, sliding_window_inference


class PromptInferer(Inferer):
    def __init__(self, roi_size, overlap, sw_batch_size=1):
        self.roi_size, self.overlap, self.sw_batch_size = roi_size, overlap, sw_batch_size

    def __call__(self, inputs, network, class_vector):
        return sliding_window_inference(
            inputs=inputs, roi_size=self.roi_size, sw_batch_size=self.sw_batch_size, overlap=self.overlap, mode="gaussian",
            predictor=network, class_vector=class_vector, transpose=True,
        )
"""

PROMPT_NETWORK = '''
import torch


class PromptNetwork(torch.nn.Module):
    """One mask for each class that is asked for."""

    def __init__(self, in_channels=1, known=133):
        super().__init__()
        self.body = torch.nn.Conv3d(in_channels, 4, 3, padding=1)
        self.classes = torch.nn.Embedding(known, 4)

    def forward(self, image, class_vector, transpose=False):
        masks = torch.einsum("bcxyz,nc->nbxyz", self.body(image), self.classes(class_vector[:, 0]))
        return masks.transpose(1, 0) if transpose else masks
'''
