"""The words captions are written in; a prompt in these words is understood best."""

DROPPED = 0.12

WORDS = {
    "deep": (
        "deep ocean", "ocean", "open ocean", "dark blue ocean", "deep sea", "dark ocean",
        "deep blue water", "abyss",
    ),
    "shallow": (
        "shallow sea", "sea", "blue sea", "blue water", "shallow water", "coastal water",
        "blue shallows", "bay", "gulf",
    ),
    "turquoise": (
        "turquoise shallows", "turquoise water", "turquoise sea", "turquoise lagoon",
        "tropical shallows", "cyan water", "coral reef", "lagoon",
    ),
    "snow": (
        "snow", "ice", "snow fields", "glacier", "ice cap", "frozen land", "white snow",
        "arctic ice", "tundra snow", "polar ice",
    ),
    "desert": (
        "desert", "sand desert", "golden desert", "sand", "dunes", "sandy desert", "arid land",
        "yellow desert", "sand dunes",
    ),
    "red": (
        "red desert", "red sand", "orange desert", "rust red land", "red earth", "red rock", "mars",
    ),
    "forest": (
        "forest", "green forest", "jungle", "rainforest", "woods", "green land", "dense forest",
        "lush green", "trees", "green",
    ),
    "steppe": (
        "steppe", "dry plains", "grassland", "brown plains", "savanna", "plains", "prairie",
        "brown land", "olive hills", "fields",
    ),
    "mountains": (
        "mountains", "mountain range", "peaks", "highlands", "rugged mountains", "hills",
        "ridges", "mountain", "alps", "cliffs",
    ),
    "lakes": ("lakes", "lake", "inland lakes", "small lakes", "ponds", "rivers and lakes"),
}  # fmt: skip
SNOW_MOUNTAINS = (
    "snow mountains", "snowy mountains", "snow capped mountains", "snowy peaks", "icy mountains",
    "white peaks", "snow covered mountains", "snow mountain range",
)  # fmt: skip
COAST = ("coast", "coastline", "shore", "coast line", "beach", "peninsula")
ISLANDS = ("islands", "island", "archipelago", "small islands", "island chain", "isles")
SIDES = {
    "north": ("north", "top"),
    "south": ("south", "bottom"),
    "west": ("west", "left"),
    "east": ("east", "right"),
}
OPPOSITE = {"north": "south", "south": "north", "west": "east", "east": "west"}
CENTRE = ("in the centre", "in the middle", "in the center")
OPENINGS = (
    "a satellite view of ", "satellite map of ", "an imaginary planet with ",
    "a planet from above, ", "aerial view of ", "a map of ", "from space, ", "a picture of ",
    "a photo of ", "planet with ", "satellite image, ", "the ",
)  # fmt: skip
# Words that say nothing about the land: the model learns to pass over them.
NOISE = (
    "beautiful", "highly detailed", "4k", "8k", "masterpiece", "sharp", "realistic", "wide",
    "cinematic", "high quality", "natural", "vast", "quiet", "big", "fine texture", "xq zw",
    "best quality", "seen from orbit", "nasa", "world", "terrain", "landscape", "fantasy", "alien",
    "large", "qwv", "jk bpf", "under a clear sky", "above", "below", "between", "near", "around",
)  # fmt: skip
