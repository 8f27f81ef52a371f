"""From findings to DICOM objects: a Segmentation and a Structured Report, and the proof that they are true. The only home of highdicom.

``objects.encode`` builds, ``gate.inspect`` re-reads the stored bytes and refuses what is wrong, ``preview.draw_overlay`` draws
what an archive received. Nothing is drawn by lot and no clock is read: the same job gives the same bytes, on every machine.
"""
