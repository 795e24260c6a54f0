"""The frame API: clients hand over pictures and learn what became of them."""
