"""What the MONAI Model Zoo's CT and MR bundles call their channels, without background (metadata.json, channel_def or label_def)."""

_NUMBERED = [
    f"vertebrae_{name}"
    for name in [f"L{n}" for n in range(5, 0, -1)] + [f"T{n}" for n in range(12, 0, -1)] + [f"C{n}" for n in range(7, 0, -1)]
]
_SIDES = ("left", "right")

WHOLE_BODY = (
    "spleen",
    "kidney_right",
    "kidney_left",
    "gallbladder",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_vein_and_splenic_vein",
    "pancreas",
    "adrenal_gland_right",
    "adrenal_gland_left",
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
    *_NUMBERED,
    "esophagus",
    "trachea",
    "heart_myocardium",
    "heart_atrium_left",
    "heart_ventricle_left",
    "heart_atrium_right",
    "heart_ventricle_right",
    "pulmonary_artery",
    "brain",
    "iliac_artery_left",
    "iliac_artery_right",
    "iliac_vena_left",
    "iliac_vena_right",
    "small_bowel",
    "duodenum",
    "colon",
    *(f"rib_{side}_{n}" for side in _SIDES for n in range(1, 13)),
    *(f"{bone}_{side}" for bone in ("humerus", "scapula", "clavicula", "femur", "hip") for side in _SIDES),
    *("sacrum", "face"),
    *(
        f"{muscle}_{side}"
        for muscle in ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "iliopsoas")
        for side in _SIDES
    ),
    "urinary_bladder",
)
ZOO = {
    "spleen_ct_segmentation": ("spleen",),
    "wholeBody_ct_segmentation": WHOLE_BODY,
    "swin_unetr_btcv_segmentation": (
        "spleen",
        "Right Kidney",
        "Left Kideny",  # as it was published
        "Gallbladder",
        "Esophagus",
        "Liver",
        "Stomach",
        "Aorta",
        "IVC",
        "Portal and Splenic Veins",
        "Pancreas",
        "Right adrenal gland",
        "Left adrenal gland",
    ),
    "multi_organ_segmentation": ("artery", "portal vein", "liver", "spleen", "stomach", "gallbladder", "pancreas"),
    "pancreas_ct_dints_segmentation": ("pancreas", "pancreatic tumor"),
    "pediatric_abdominal_ct_segmentation": ("liver", "spleen", "pancreas"),
    "renalStructures_UNEST_segmentation": ("kidney cortex", "medulla", "pelvicalyceal system"),
    "renalStructures_CECT_segmentation": ("artery", "vein", "ureter", "neoplasm", "parenchyma"),
    "prostate_mri_anatomy": ("central gland", "peripheral zone"),
    "brats_mri_segmentation": ("Tumor core", "Whole tumor", "Enhancing tumor"),
    "ventricular_short_axis_3label": ("lv_pool", "myocardium", "rv_pool"),
}
